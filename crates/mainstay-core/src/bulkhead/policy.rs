use std::time::Duration;

use crate::policy::{self, PolicyError};

/// Most slots, and most places in the line.
pub const MAX_PLACES: u32 = 1_000_000;

/// How many calls there may be. Plain data with complete defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Calls at once: 1 to 1,000,000. Default 100.
    pub max_concurrent: u32,
    /// Callers that wait for a slot: 0 to 1,000,000. Default 100.
    pub max_waiting: u32,
    /// The longest that one waits. Default 1 s.
    pub max_wait: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_concurrent: 100, max_waiting: 100, max_wait: Duration::from_secs(1) }
    }
}

impl Policy {
    /// Whether a bulkhead can work so.
    ///
    /// # Errors
    /// Names the first field that is out of its bounds.
    pub fn check(&self) -> Result<(), PolicyError> {
        let rules = [
            ((1..=MAX_PLACES).contains(&self.max_concurrent), "max_concurrent", "must be 1 to 1,000,000"),
            (self.max_waiting <= MAX_PLACES, "max_waiting", "must be at most 1,000,000"),
        ];
        policy::check("bulkhead", rules)
    }
}
