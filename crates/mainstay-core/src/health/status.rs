use std::fmt;

use serde::Serialize;

/// State of one check or of the whole service, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything answers as it should.
    Healthy,
    /// Working, but somebody should look: a non-critical check fails, a check warns, or a result
    /// is missing or too old.
    Degraded,
    /// A critical check fails.
    Unhealthy,
}

impl Status {
    /// `healthy`, `degraded` or `unhealthy`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Whether the health endpoint answers 200 (and not 503).
    #[must_use]
    pub fn is_serving(self) -> bool {
        self != Self::Unhealthy
    }

    /// The words of `application/health+json`: `pass`, `warn`, `fail`.
    pub(super) fn health_json(self) -> &'static str {
        match self {
            Self::Healthy => "pass",
            Self::Degraded => "warn",
            Self::Unhealthy => "fail",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
