use super::classify::Judgement;
use super::policy;
use crate::adaptive::{self, Adaptive};
use crate::breaker::Verdict;
use crate::bulkhead::{self, Bulkhead};
use crate::metrics::Metrics;
use crate::policy::PolicyError;
use crate::time::Clock;

/// Bounds the calls under way.
#[derive(Debug)]
pub(super) enum Limit {
    Fixed(Bulkhead),
    Adaptive(Adaptive),
}

/// A place among the calls under way; dropped, it is free.
pub(super) enum Place {
    Fixed { _held: bulkhead::Slot },
    Adaptive(adaptive::Slot),
}

impl Limit {
    pub(super) fn new(
        name: &str,
        policy: &policy::Limit,
        metrics: &Metrics,
        clock: Clock,
    ) -> Result<Self, PolicyError> {
        Ok(match policy {
            policy::Limit::Fixed(policy) => Self::Fixed(Bulkhead::new(name, policy.clone(), metrics, clock)?),
            policy::Limit::Adaptive(policy) => {
                Self::Adaptive(Adaptive::new(name, policy.clone(), metrics, clock)?)
            }
        })
    }

    /// Whether it can go on by this policy.
    pub(super) fn fits(&self, policy: &policy::Limit) -> Result<(), PolicyError> {
        match (self, policy) {
            (Self::Fixed(_), policy::Limit::Fixed(_)) | (Self::Adaptive(_), policy::Limit::Adaptive(_)) => {
                Ok(())
            }
            _ => Err(PolicyError {
                part: "pipeline",
                field: "limit",
                reason: "must stay of its kind while calls are made",
            }),
        }
    }

    pub(super) fn configure(&self, policy: &policy::Limit) -> Result<(), PolicyError> {
        match (self, policy) {
            (Self::Fixed(limit), policy::Limit::Fixed(policy)) => limit.configure(policy.clone()),
            (Self::Adaptive(limit), policy::Limit::Adaptive(policy)) => limit.configure(policy.clone()),
            _ => self.fits(policy),
        }
    }

    /// `None`: there is none, or none in time.
    pub(super) async fn acquire(&self) -> Option<Place> {
        match self {
            Self::Fixed(limit) => {
                // The way without a wait is the way of nearly all.
                let held = match limit.take() {
                    Some(held) => held,
                    None => Box::pin(limit.acquire()).await.ok()?,
                };
                Some(Place::Fixed { _held: held })
            }
            Self::Adaptive(limit) => limit.try_acquire().ok().map(Place::Adaptive),
        }
    }
}

impl Place {
    /// Frees it, with what the attempt says about the dependency's load.
    pub(super) fn leave(self, judgement: Judgement, timed_out: bool) {
        let Self::Adaptive(slot) = self else { return };
        match judgement.verdict {
            Verdict::Success => slot.success(),
            Verdict::FailureFor(_) => slot.overloaded(),
            Verdict::Failure if timed_out => slot.overloaded(),
            _ => drop(slot),
        }
    }
}
