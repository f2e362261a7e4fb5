use std::time::Duration;

use crate::policy::{self, PolicyError};

/// Most attempts of one call.
pub const MAX_ATTEMPTS: u32 = 100;

/// When a call is tried again. Plain data with complete defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Attempts in all, the first one among them: 1 to 100. Default 3.
    pub attempts: u32,
    /// The longest wait before the second attempt; it doubles with each further one. Default 50 ms.
    pub first: Duration,
    /// The longest wait of all. Default 1 s.
    pub max: Duration,
    /// The longest wait that the other side may ask for; if it asks for more, there is no retry. Default 10
    /// s.
    pub max_retry_after: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 3,
            first: Duration::from_millis(50),
            max: Duration::from_secs(1),
            max_retry_after: Duration::from_secs(10),
        }
    }
}

impl Policy {
    /// Whether calls can be tried again so.
    ///
    /// # Errors
    /// Names the first field that is out of its bounds.
    pub fn check(&self) -> Result<(), PolicyError> {
        let rules = [
            ((1..=MAX_ATTEMPTS).contains(&self.attempts), "attempts", "must be 1 to 100"),
            (self.max >= self.first, "max", "must not be less than first"),
        ];
        policy::check("retry", rules)
    }
}
