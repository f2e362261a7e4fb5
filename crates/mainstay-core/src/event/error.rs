use super::{EventId, InvalidName};
use crate::codec;
use crate::key::InvalidKey;
use crate::store::StoreError;

/// Why something about events did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not the name of a type, or not a pattern.
    #[error(transparent)]
    Kind(#[from] InvalidName),
    /// Not the name of a group.
    #[error("group: {0}")]
    Group(#[source] InvalidKey),
    /// An option that makes no sense.
    #[error("{field}: {reason}")]
    Option {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The data cannot be written.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// The data is over [`Options::max_event_bytes`](super::Options::max_event_bytes).
    #[error("event data is {size} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A subscriber's queue is full: it handles less than is published. Nothing was published; slow down, or
    /// tell the caller to come back later.
    #[error("a queue is full: nothing was published")]
    Backpressure,
    /// The store was not reached: nothing was published or changed.
    #[error("events: {0}")]
    Unavailable(#[source] StoreError),
    /// No answer came: it may have happened. Publishing again with the same id does it once at most.
    #[error("events: {source}")]
    Unknown {
        /// The first id of what was being published; `None` for any other operation.
        id: Option<EventId>,
        /// For the log.
        source: StoreError,
    },
    /// This handle is stopping or has stopped.
    #[error("events are stopped")]
    Stopped,
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Backpressure | Self::Unavailable(_) | Self::Unknown { .. })
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unknown { .. } => Self::Unknown { id: None, source: error },
            StoreError::Unavailable { .. } | StoreError::Rejected { .. } => Self::Unavailable(error),
        }
    }
}

/// What a handle that stopped had to leave undone, in a store whose events end with the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{events} events left unhandled after the deadline, {stuck} subscriptions stuck in a handler")]
#[non_exhaustive]
pub struct Unfinished {
    /// Events neither done nor dead.
    pub events: usize,
    /// Subscriptions with a handler that cannot be cancelled because it blocks its thread.
    pub stuck: usize,
}
