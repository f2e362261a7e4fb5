use std::sync::Arc;

use crate::breaker::Open;
use crate::deadline::Elapsed;

/// Why a call has no result.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// The breaker is open: nothing was sent. Fall back, or come back after its time.
    #[error(transparent)]
    Open(Open),
    /// Too many calls are under way: nothing was sent. Do less, or come back later.
    #[error("{name}: too many calls are under way")]
    Full {
        /// Of the pipeline.
        name: Arc<str>,
    },
    /// No answer in time, of the last attempt or the whole: it may have been carried out.
    #[error(transparent)]
    TimedOut(Elapsed),
    /// The error of the last attempt.
    #[error(transparent)]
    Inner(E),
}

impl<E> Error<E> {
    /// Whether nothing was sent, for this reason at least: earlier attempts may have been.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Full { .. })
    }

    /// With another error of the call itself.
    pub fn map<F>(self, change: impl FnOnce(E) -> F) -> Error<F> {
        match self {
            Self::Open(open) => Error::Open(open),
            Self::Full { name } => Error::Full { name },
            Self::TimedOut(elapsed) => Error::TimedOut(elapsed),
            Self::Inner(error) => Error::Inner(change(error)),
        }
    }
}
