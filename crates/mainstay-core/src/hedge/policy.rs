use std::time::Duration;

use crate::policy::{self, PolicyError};

/// Latencies that are remembered.
pub const MAX_SAMPLES: u32 = 128;

/// When a call is made a second time. Plain data with complete defaults.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// The share of the recent calls that were answered by then: 0.5 to below 1. Default 0.95.
    pub percentile: f64,
    /// Not before this. Default 1 ms.
    pub min_delay: Duration,
    /// Not later than this, once enough latencies are known. Default 10 s.
    pub max_delay: Duration,
    /// Latencies to know before the first hedge: at most 128. Default 20.
    pub min_samples: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            percentile: 0.95,
            min_delay: Duration::from_millis(1),
            max_delay: Duration::from_secs(10),
            min_samples: 20,
        }
    }
}

impl Policy {
    /// Whether calls can be hedged so.
    ///
    /// # Errors
    /// Names the first field that is out of its bounds.
    pub fn check(&self) -> Result<(), PolicyError> {
        let rules = [
            ((0.5..1.0).contains(&self.percentile), "percentile", "must be 0.5 to below 1"),
            (self.max_delay >= self.min_delay, "max_delay", "must not be less than min_delay"),
            (self.min_samples <= MAX_SAMPLES, "min_samples", "must be at most 128"),
        ];
        policy::check("hedge", rules)
    }
}
