//! What can go wrong.

use std::sync::Arc;
use std::time::Duration;

use crate::codec;
use crate::key::InvalidKey;
use crate::store::StoreError;

/// A loader's error, shared by all who waited for it.
pub(super) type LoadError = Arc<dyn std::error::Error + Send + Sync>;

/// Why a cache gave no answer. Cheap to clone: all who waited for one load get the same.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key cannot be one.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The policy or a tag cannot be met.
    #[error("{field} {reason}")]
    Policy {
        /// What is wrong.
        field: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// The value is larger than [`Options::max_value_bytes`](super::Options::max_value_bytes). Nothing was stored.
    #[error("value of {size} bytes is too large to cache, at most {max} are allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The value cannot be written by the codec.
    #[error(transparent)]
    Codec(Arc<codec::Error>),
    /// The loader failed; [`Error::load_error`] has its error.
    #[error("loading failed: {0}")]
    Load(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The loader panicked.
    #[error("the loader panicked")]
    LoadPanicked,
    /// The value was not there within the policy's hard timeout. The loader was dropped.
    #[error("loading took longer than {after:?}")]
    LoadTimeout {
        /// The hard timeout.
        after: Duration,
    },
    /// The store was not reached: nothing has changed. Of a read also: its answer was lost.
    #[error(transparent)]
    Unavailable(StoreError),
    /// The write may or may not have happened. It may be repeated.
    #[error(transparent)]
    Unknown(StoreError),
    /// The store refuses: nothing has changed, and repeating it changes nothing.
    #[error(transparent)]
    Rejected(StoreError),
    /// The cache was stopped: it loads nothing any more.
    #[error("the cache was stopped")]
    Stopped,
}

impl Error {
    /// The loader's own error, if this is one and of this type.
    #[must_use]
    pub fn load_error<E: std::error::Error + 'static>(&self) -> Option<&E> {
        match self {
            Self::Load(error) => error.downcast_ref(),
            _ => None,
        }
    }

    /// Of a question that changes nothing.
    pub(super) const fn reading(error: StoreError) -> Self {
        match error {
            StoreError::Rejected { .. } => Self::Rejected(error),
            StoreError::Unavailable { .. } | StoreError::Unknown { .. } => Self::Unavailable(error),
        }
    }

    /// Of a question that changes something.
    pub(super) const fn writing(error: StoreError) -> Self {
        match error {
            StoreError::Rejected { .. } => Self::Rejected(error),
            StoreError::Unavailable { .. } => Self::Unavailable(error),
            StoreError::Unknown { .. } => Self::Unknown(error),
        }
    }
}

impl From<codec::Error> for Error {
    fn from(error: codec::Error) -> Self {
        Self::Codec(Arc::new(error))
    }
}
