use std::fmt;
use std::time::Duration;

use super::Step;

/// What shutdown did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Why it was asked for.
    pub reason: String,
    /// Every piece of work, in the order in which it ended.
    pub steps: Vec<Entry>,
    /// From the first call of [`Lifecycle::run_shutdown`](super::Lifecycle::run_shutdown) to the end.
    pub took: Duration,
}

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its step.
    pub step: Step,
    /// Its name.
    pub name: String,
    /// How long it ran; zero if it never began.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a piece of work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Well.
    Done,
    /// With this error or panic.
    Failed(String),
    /// It was still running at its deadline, or at the total deadline, and was dropped.
    Overran,
    /// Shutdown ended first: it was aborted, or the total deadline passed before this work began.
    Cut,
}

impl Report {
    /// Whether all work ended well.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.steps.iter().all(|entry| entry.outcome == Outcome::Done)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Failed(message) => write!(f, "failed: {message}"),
            Self::Overran => f.write_str("overran its deadline"),
            Self::Cut => f.write_str("cut short"),
        }
    }
}
