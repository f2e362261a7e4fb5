use super::super::{Policy, Reason};
use crate::time::Moment;

/// One half-open round: the probes under way and how the others ended.
#[derive(Debug, Default)]
pub(super) struct Round {
    leases: Vec<Lease>,
    last_id: u64,
    successes: u32,
    failures: u32,
    slow: u32,
}

#[derive(Debug)]
struct Lease {
    id: u64,
    ends: Moment,
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Close(Reason),
    Open(Reason),
}

impl Round {
    /// Forgets all; numbers of probes are not used again.
    pub(super) fn begin(&mut self) {
        *self = Self { last_id: self.last_id, ..Self::default() };
    }

    /// Gives up the probes whose lease is over, as failed; says how many.
    pub(super) fn reclaim(&mut self, now: Moment) -> u32 {
        let before = self.leases.len();
        self.leases.retain(|lease| lease.ends > now);
        let lost = u32::try_from(before - self.leases.len()).expect("no more leases than probes");
        self.failures += lost;
        lost
    }

    /// No lease ends after `latest`.
    pub(super) fn shorten(&mut self, latest: Moment) {
        for lease in &mut self.leases {
            lease.ends = lease.ends.min(latest);
        }
    }

    /// The number of a new probe, if there is room for one.
    pub(super) fn admit(&mut self, now: Moment, policy: &Policy) -> Option<u64> {
        self.has_room(policy).then(|| {
            self.last_id += 1;
            self.leases.push(Lease { id: self.last_id, ends: now + policy.probe_lease });
            self.last_id
        })
    }

    /// Probes that ended count like those under way: a round lets no more than `probes` pass.
    pub(super) fn has_room(&self, policy: &Policy) -> bool {
        self.leases.len() < policy.probes.saturating_sub(self.ended()) as usize
    }

    /// When there is room at the latest, if no probe ends.
    pub(super) fn next_room(&self, policy: &Policy) -> Moment {
        match self.leases.iter().map(|lease| lease.ends).min() {
            Some(first) if !self.has_room(policy) => first,
            _ => Moment::default(),
        }
    }

    /// Takes a probe off the list; false if it was given up.
    pub(super) fn release(&mut self, id: u64) -> bool {
        match self.leases.iter().position(|lease| lease.id == id) {
            None => false,
            Some(at) => {
                self.leases.swap_remove(at);
                true
            }
        }
    }

    /// How a probe ended.
    pub(super) fn note(&mut self, failed: bool, slow: bool) {
        self.successes += u32::from(!failed);
        self.failures += u32::from(failed);
        self.slow += u32::from(slow);
    }

    /// Closes with enough successes; opens when they are out of reach, or when too many were slow.
    pub(super) fn decide(&self, policy: &Policy) -> Option<Decision> {
        let probes = self.ended();
        if self.failures > policy.probes - policy.probes_to_close {
            return Some(Decision::Open(Reason::ProbesFailed { failures: self.failures, probes }));
        }
        if self.successes < policy.probes_to_close {
            return None;
        }
        if self.slow > 0 && f64::from(self.slow) / f64::from(probes) >= policy.slow_rate {
            return Some(Decision::Open(Reason::ProbesSlow { slow: self.slow, probes }));
        }
        Some(Decision::Close(Reason::ProbesSucceeded(self.successes)))
    }

    fn ended(&self) -> u32 {
        self.successes + self.failures
    }
}
