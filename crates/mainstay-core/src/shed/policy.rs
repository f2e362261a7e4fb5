use std::time::Duration;

use crate::policy::{self, PolicyError};

/// When requests are shed. Plain data with complete defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The queueing delay that is fine for ever. Default 5 ms.
    pub target: Duration,
    /// How long the least delay has to stay above the target. Longer than a usual burst; above the target.
    /// Default 100 ms.
    pub interval: Duration,
    /// What those that are shed are told to wait. Default 1 s.
    pub retry_after: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            target: Duration::from_millis(5),
            interval: Duration::from_millis(100),
            retry_after: Duration::from_secs(1),
        }
    }
}

impl Policy {
    /// Whether a server can shed so.
    ///
    /// # Errors
    /// Names the first field that is out of its bounds.
    pub fn check(&self) -> Result<(), PolicyError> {
        let rules = [
            (!self.target.is_zero(), "target", "must be above 0"),
            (self.interval > self.target, "interval", "must be above the target"),
            (self.interval <= Duration::from_secs(3600), "interval", "must be at most an hour"),
        ];
        policy::check("shed", rules)
    }
}

/// How much a request matters. The least important are shed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Priority {
    /// What can well be done later: batches, prefetches.
    Low,
    /// Everything else.
    #[default]
    Normal,
    /// Never shed: health probes and administration, by which an overload is seen and ended.
    Critical,
}
