//! How the limit moves: no clock, no threads.

use std::time::Duration;

use super::policy::Policy;
use crate::time::Moment;

/// Fewest calls whose mean latency is judged.
const WINDOW: u32 = 64;

/// A probe that finds a latency below this share of the last one found has halved away a part of a queue:
/// there may be more. A difference that is less, either way, is chance.
const IMPROVED: f64 = 0.8;

/// No window shrinks the limit to less than this share.
const STEEPEST: f64 = 0.5;

#[derive(Debug)]
pub(super) struct Control {
    /// The limit, but for a probe.
    limit: f64,
    phase: Phase,
    /// Mean latency without a queue, in seconds, and when it was measured.
    baseline: Option<f64>,
    measured: Moment,
    window: Window,
    /// Calls from before this say nothing new about an overload.
    decreased: Moment,
}

/// A call that was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) begun: Moment,
    pub(super) ended: Moment,
    /// Slots that were out when it began, its own among them.
    pub(super) at_start: u32,
    /// Slots that are out now, its own not among them.
    pub(super) at_end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Steady,
    /// The limit is cut, and calls from before are still out.
    Draining {
        cut: f64,
    },
    /// Calls from since then are measured, but for the first round of them: those that end first are the
    /// short ones.
    Measuring {
        cut: f64,
        since: Moment,
        skip: f64,
    },
}

#[derive(Debug, Default)]
struct Window {
    sum: f64,
    count: u32,
}

impl Control {
    /// Begins with a probe, at the full first limit.
    pub(super) fn new(policy: &Policy, now: Moment) -> Self {
        let limit = f64::from(policy.initial);
        Self {
            limit,
            phase: Phase::Measuring { cut: limit, since: now, skip: limit },
            baseline: None,
            measured: now,
            window: Window::default(),
            decreased: Moment::default(),
        }
    }

    /// The limit that holds now.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the policy's bounds")]
    pub(super) fn limit(&self, policy: &Policy) -> u32 {
        let limit = match self.phase {
            Phase::Steady => self.limit,
            Phase::Draining { cut } | Phase::Measuring { cut, .. } => self.limit.min(cut),
        };
        (limit as u32).clamp(policy.min, policy.max)
    }

    pub(super) fn success(&mut self, policy: &Policy, sample: Sample) {
        match self.phase {
            Phase::Steady => self.steady(policy, sample),
            Phase::Draining { cut } if f64::from(sample.at_end) <= cut => {
                self.phase = Phase::Measuring { cut, since: sample.ended, skip: cut };
            }
            Phase::Measuring { cut, since, skip } if sample.begun >= since && skip >= 1.0 => {
                self.phase = Phase::Measuring { cut, since, skip: skip - 1.0 };
            }
            Phase::Measuring { cut, since, .. } if sample.begun >= since => {
                self.measuring(policy, sample, cut);
            }
            Phase::Draining { .. } | Phase::Measuring { .. } => {}
        }
    }

    /// A timeout or a refusal.
    pub(super) fn overloaded(&mut self, policy: &Policy, begun: Moment, now: Moment) {
        if begun >= self.decreased {
            self.decreased = now;
            self.move_to(policy, self.limit * policy.backoff);
        }
    }

    /// A probe goes on within the new bounds: below the lowest limit it would never see the calls drained.
    pub(super) fn configure(&mut self, policy: &Policy) {
        self.move_to(policy, self.limit);
        if let Phase::Draining { cut } | Phase::Measuring { cut, .. } = &mut self.phase {
            *cut = cut.clamp(f64::from(policy.min), f64::from(policy.max));
        }
    }

    fn steady(&mut self, policy: &Policy, sample: Sample) {
        if f64::from(sample.at_start) * 2.0 < self.limit {
            return;
        }
        let Some(latency) = self.window.add(sample, self.limit) else { return };
        if sample.ended.saturating_since(self.measured) >= policy.probe_every {
            self.probe(policy, self.limit);
        } else if let Some(baseline) = self.baseline {
            let gradient = (policy.tolerance * baseline / latency).clamp(STEEPEST, 1.0);
            // The root is the queue that is allowed: what lets it grow where there is none.
            let aim = gradient * self.limit + self.limit.sqrt();
            self.move_to(policy, self.limit + policy.smoothing * (aim - self.limit));
        }
    }

    fn measuring(&mut self, policy: &Policy, sample: Sample, cut: f64) {
        let Some(latency) = self.window.add(sample, cut) else { return };
        let before = self.baseline.unwrap_or(f64::INFINITY);
        let improved = latency < before * IMPROVED;
        let alike = !improved && latency * IMPROVED <= before;
        self.baseline = Some(if alike { f64::midpoint(before, latency) } else { latency });
        self.measured = sample.ended;
        self.phase = Phase::Steady;
        if improved {
            // At twice the cut there was a queue.
            self.move_to(policy, self.limit.min(cut * 2.0));
        }
        if improved && cut > f64::from(policy.min) {
            self.probe(policy, cut);
        }
    }

    fn probe(&mut self, policy: &Policy, from: f64) {
        self.window = Window::default();
        self.phase = Phase::Draining { cut: (from / 2.0).max(f64::from(policy.min)) };
    }

    fn move_to(&mut self, policy: &Policy, limit: f64) {
        self.limit = limit.clamp(f64::from(policy.min), f64::from(policy.max));
    }
}

impl Window {
    /// The mean in seconds, above zero, of this and the calls before, if they are enough: about one round of
    /// all that are out. Then it begins anew.
    fn add(&mut self, sample: Sample, limit: f64) -> Option<f64> {
        let latency = sample.ended.saturating_since(sample.begun).max(Duration::from_micros(1));
        self.sum += latency.as_secs_f64();
        self.count += 1;
        (f64::from(self.count) >= limit.max(f64::from(WINDOW))).then(|| {
            let whole = std::mem::take(self);
            whole.sum / f64::from(whole.count)
        })
    }
}
