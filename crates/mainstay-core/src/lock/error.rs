use std::time::Duration;

use crate::key::InvalidKey;
use crate::store::StoreError;

/// Why there is no lock, or why it is not known to be released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name cannot be a key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// An option is out of its bounds.
    #[error("{field} {reason}")]
    Option {
        /// The option, as its builder method is called.
        field: &'static str,
        /// What it must be.
        reason: &'static str,
    },
    /// Others held it all the time that the caller was ready to wait.
    #[error("held by others{}", retry_hint(*retry_after))]
    Contended {
        /// When, as far as is known, it will be free at the latest if its holder does not renew.
        retry_after: Option<Duration>,
    },
    /// The store was not reached or refused: nothing is held.
    #[error("lock store unavailable")]
    Unavailable(#[source] StoreError),
    /// The store did not answer. Of an acquire: if it took effect it is being undone, and ends with its ttl at the
    /// latest. Of a release: it is tried again in the background until the ttl is over.
    #[error("outcome unknown")]
    Unknown(#[source] StoreError),
    /// [`Locks::stop`](super::Locks::stop) was called.
    #[error("locks are stopped")]
    Stopped,
}

fn retry_hint(after: Option<Duration>) -> String {
    after.map(|after| format!(", for {after:?} at most if not renewed")).unwrap_or_default()
}

/// What failed when nothing the caller asked before can still be on its way.
impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unknown { .. } => Self::Unknown(error),
            StoreError::Unavailable { .. } | StoreError::Rejected { .. } => Self::Unavailable(error),
        }
    }
}

/// The lock no longer protects: it was not renewed in time, or [`max_hold`](super::Options::max_hold) is over, or
/// the store says that somebody else took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("lock lost")]
pub struct Lost;
