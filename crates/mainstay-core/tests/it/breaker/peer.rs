//! The same random trace through Resilience4j's algorithm, written down here from its documentation
//! (resilience4j.readme.io/docs/circuitbreaker): ring of the last n outcomes with a running total, or n partial
//! aggregations of a second each; both judged after every outcome; in half-open, so many permitted calls whose
//! failure rate is judged when the last of them has ended.
//!
//! One difference remains, and the trace shows it to be one of time only: a round of probes here is decided as soon as
//! the rest cannot change the decision, there when all have ended. It opens if k or more of n probes fail, so
//! `probes_to_close` is n - k + 1.
//!
//! And through a breaker that runs, the crate recloser, whose ring is the same one. It judges from the first call on
//! that finds the ring full, which is one later than here: its traces begin with a ring of successes.

use std::collections::VecDeque;
use std::time::Duration;

use mainstay_core::breaker::{Policy, State, Window};
use mainstay_testkit::{Rng, Seed};
use recloser::{Error, Recloser};

use super::{Rig, rounds};

const STEPS: usize = 5_000;
const PROBES: u32 = 10;

struct Ring {
    size: usize,
    outcomes: VecDeque<bool>,
    failed: usize,
}

impl Ring {
    fn record(&mut self, failed: bool) {
        if self.outcomes.len() == self.size && self.outcomes.pop_front() == Some(true) {
            self.failed -= 1;
        }
        self.outcomes.push_back(failed);
        self.failed += usize::from(failed);
    }
}

/// Partial aggregations: (epoch second, calls, failures), with the totals.
struct Seconds {
    partial: Vec<(u64, usize, usize)>,
    head: usize,
    calls: usize,
    failed: usize,
}

impl Seconds {
    fn new(seconds: usize, now: u64) -> Self {
        let partial = (0..seconds).map(|index| (now + index as u64, 0, 0)).collect();
        Self { partial, head: 0, calls: 0, failed: 0 }
    }

    /// Moves the head to `now`, and empties what it comes over.
    fn advance(&mut self, now: u64) {
        let behind = now.saturating_sub(self.partial[self.head].0);
        for left in (0..behind.min(self.partial.len() as u64)).rev() {
            self.head = (self.head + 1) % self.partial.len();
            let (_, calls, failed) = std::mem::replace(&mut self.partial[self.head], (now - left, 0, 0));
            self.calls -= calls;
            self.failed -= failed;
        }
    }

    fn record(&mut self, now: u64, failed: bool) {
        self.advance(now);
        let (_, calls, failures) = &mut self.partial[self.head];
        *calls += 1;
        *failures += usize::from(failed);
        self.calls += 1;
        self.failed += usize::from(failed);
    }
}

enum Metrics {
    Ring(Ring),
    Seconds(Seconds),
}

struct Peer {
    policy: Policy,
    metrics: Metrics,
}

impl Peer {
    fn new(policy: &Policy, now: u64) -> Self {
        let metrics = match policy.window {
            Window::Count(size) => Metrics::Ring(ring(size as usize)),
            Window::Time(time) => {
                Metrics::Seconds(Seconds::new(usize::try_from(time.as_secs()).unwrap(), now / 1_000_000))
            }
        };
        Self { policy: policy.clone(), metrics }
    }

    /// Whether the circuit opens.
    fn record(&mut self, now: u64, failed: bool) -> bool {
        let (calls, failures) = match &mut self.metrics {
            Metrics::Ring(ring) => {
                ring.record(failed);
                (ring.outcomes.len(), ring.failed)
            }
            Metrics::Seconds(seconds) => {
                seconds.record(now / 1_000_000, failed);
                (seconds.calls, seconds.failed)
            }
        };
        calls >= self.policy.min_calls as usize
            && failures as f64 * 100.0 / calls as f64 >= self.policy.failure_rate * 100.0
    }
}

fn ring(size: usize) -> Ring {
    Ring { size, outcomes: VecDeque::new(), failed: 0 }
}

fn trace(rng: &mut Rng, window: Window, rate: f64) -> u32 {
    let mut policy = Policy::default();
    policy.window = window;
    policy.min_calls =
        1 + u32::try_from(rng.below(if let Window::Count(size) = window { size } else { 10 }.into()))
            .unwrap();
    policy.failure_rate = rate;
    policy.probes = PROBES;
    let fatal = (1..=PROBES).find(|failures| f64::from(*failures) / f64::from(PROBES) >= rate).unwrap();
    policy.probes_to_close = PROBES - fatal + 1;
    let rig = Rig::new(policy.clone());
    let mut peer = Peer::new(&policy, rig.hand.micros());
    let mut openings = 0;
    for _ in 0..STEPS / 10 {
        let failing = *rng.pick(&[0.0, rate * 0.5, rate * 0.9, rate]);
        let failed = rng.chance(failing);
        rig.calls(1, !failed);
        let opens = peer.record(rig.hand.micros(), failed);
        assert_eq!(rig.breaker.state() == State::Open, opens, "{:?}", rig.breaker.snapshot());
        if opens {
            openings += 1;
            rig.wait();
            half_open(rng, &rig, rate);
            peer = Peer::new(&policy, rig.hand.micros());
        }
        if rng.chance(0.3) {
            rig.hand.advance(Duration::from_millis(rng.below(1_500)));
        }
    }
    openings
}

/// Rounds of probes until one closes it.
fn half_open(rng: &mut Rng, rig: &Rig, rate: f64) {
    loop {
        let failing: Vec<bool> = (0..PROBES).map(|_| rng.chance(0.7 * rate)).collect();
        let permits: Vec<_> = failing.iter().map(|_| rig.breaker.try_acquire().unwrap()).collect();
        for (permit, failed) in permits.into_iter().zip(&failing) {
            if *failed { permit.failure() } else { permit.success() }
        }
        let failures = failing.iter().filter(|failed| **failed).count();
        let opens = failures as f64 * 100.0 / f64::from(PROBES) >= rate * 100.0;
        assert_eq!(rig.breaker.state(), if opens { State::Open } else { State::Closed }, "{failing:?}");
        if !opens {
            return;
        }
        rig.wait();
    }
}

#[test]
fn the_same_trace_gives_the_same_decisions_as_resilience4j() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let mut openings = 0;
    for _ in 0..rounds(20) {
        let rate = *rng.pick(&[0.25, 0.5, 0.75]);
        // Ten buckets of a second each are its aggregations.
        let count = Window::Count(1 + u32::try_from(rng.below(50)).unwrap());
        let window = *rng.pick(&[count, Window::Time(Duration::from_secs(10))]);
        openings += trace(&mut rng, window, rate);
    }
    assert!(openings >= 20, "{openings} openings are no test");
}

/// Until both refuse: the number of calls that were let through.
fn to_the_opening(rng: &mut Rng, size: u32, rate: f32) -> usize {
    let mut policy = Policy::default();
    policy.window = Window::Count(size);
    policy.min_calls = size;
    policy.failure_rate = f64::from(rate);
    let rig = Rig::new(policy);
    let peer = Recloser::custom()
        .closed_len(size as usize)
        .error_rate(rate)
        .open_wait(Duration::from_secs(3600))
        .build();
    let mut calls = 0;
    loop {
        let failed = calls >= size as usize && rng.chance(f64::from(rate));
        let answer = peer.call(|| if failed { Err(()) } else { Ok(()) });
        let refused = matches!(answer, Err(Error::Rejected));
        assert_eq!(rig.breaker.state() == State::Open, refused, "{:?}", rig.breaker.snapshot());
        if refused {
            return calls;
        }
        rig.calls(1, !failed);
        calls += 1;
    }
}

#[test]
fn a_count_window_opens_at_the_same_call_as_that_of_recloser() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    for _ in 0..rounds(50) {
        // Shares that 32 bits hold exactly: recloser reckons in them.
        let rate = *rng.pick(&[0.25, 0.5, 0.75]);
        let size = 1 + u32::try_from(rng.below(60)).unwrap();
        assert!(to_the_opening(&mut rng, size, rate) > size as usize);
    }
}
