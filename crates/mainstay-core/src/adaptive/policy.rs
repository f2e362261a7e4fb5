use std::time::Duration;

use crate::policy::{self, PolicyError};

/// The highest limit there can be.
pub const MAX_LIMIT: u32 = 1_000_000;

/// How the limit moves. Plain data with complete defaults.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// The lowest limit: 1 to `max`. Default 4.
    pub min: u32,
    /// The highest limit: at most 1,000,000. Default 1,000.
    pub max: u32,
    /// The first limit. Default 20.
    pub initial: u32,
    /// So many times the latency without a queue are as good as none: 1 to 10. Default 1.2.
    pub tolerance: f64,
    /// The share of the way to a new limit that is gone at once: above 0, at most 1. Default 0.5.
    pub smoothing: f64,
    /// What is left of the limit after a timeout or a refusal: 0.5 to below 1. Default 0.9.
    pub backoff: f64,
    /// How long a measured latency without a queue stands. Default 10 s.
    pub probe_every: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            min: 4,
            max: 1_000,
            initial: 20,
            tolerance: 1.2,
            smoothing: 0.5,
            backoff: 0.9,
            probe_every: Duration::from_secs(10),
        }
    }
}

impl Policy {
    /// Whether a limit can move so.
    ///
    /// # Errors
    /// Names the first field that is out of its bounds.
    pub fn check(&self) -> Result<(), PolicyError> {
        let rules = [
            ((1..=MAX_LIMIT).contains(&self.max), "max", "must be 1 to 1,000,000"),
            ((1..=self.max).contains(&self.min), "min", "must be 1 to max"),
            ((self.min..=self.max).contains(&self.initial), "initial", "must be min to max"),
            ((1.0..=10.0).contains(&self.tolerance), "tolerance", "must be 1 to 10"),
            (self.smoothing > 0.0 && self.smoothing <= 1.0, "smoothing", "must be above 0 and at most 1"),
            ((0.5..1.0).contains(&self.backoff), "backoff", "must be 0.5 to below 1"),
            (!self.probe_every.is_zero(), "probe_every", "must be above 0"),
        ];
        policy::check("adaptive", rules)
    }
}
