use std::fmt;
use std::sync::Arc;

/// There was no slot: the call was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bulkhead {name} is full: {reason}")]
#[non_exhaustive]
pub struct Full {
    /// The bulkhead's name.
    pub name: Arc<str>,
    /// What there was no more of.
    pub reason: Refusal,
}

/// Why a bulkhead gave no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// All slots were out and nobody more may wait; or the caller would not.
    Queue,
    /// None came free in the time that the policy gives.
    Wait,
    /// None came free before the deadline: the caller is gone.
    Deadline,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "no place in the line",
            Self::Wait => "no slot came free in time",
            Self::Deadline => "no slot came free before the deadline",
        })
    }
}
