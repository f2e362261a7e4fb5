//! What can go wrong.

use mainstay_core::store::StoreError;

/// Why a session did not begin, go on or end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The token is none, or its session is over. Sign in again.
    #[error("the session is over")]
    Invalid,
    /// The token was replaced a moment ago, by another request of the same client: that one has the new token. The
    /// session goes on.
    #[error("the session was refreshed elsewhere")]
    Elsewhere,
    /// A token that was replaced came back: somebody has a copy. The session has ended, for whoever has its last token
    /// too. To the caller no more than [`Invalid`](Self::Invalid); to the log of security events all of it.
    #[error("the session is over")]
    Reused {
        /// The session that was ended.
        session: String,
        /// Whose it was.
        subject: String,
    },
    /// The subject is empty or longer than 256 bytes.
    #[error("subject must have 1 to 256 bytes")]
    Subject,
    /// The sessions have ended, but their access tokens could not be revoked: they are worth what they say until they
    /// expire.
    #[error("the session is over, but its access tokens are not revoked")]
    AccessRemains,
    /// The store was not reached: nothing has changed.
    #[error("sessions are not available")]
    Unavailable(#[source] StoreError),
    /// The change may or may not have happened.
    #[error("sessions do not answer")]
    Unknown(#[source] StoreError),
    /// The store refuses: nothing has changed, and repeating it changes nothing.
    #[error("sessions are refused")]
    Rejected(#[source] StoreError),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::Unavailable(error),
            StoreError::Unknown { .. } => Self::Unknown(error),
            _ => Self::Rejected(error),
        }
    }
}
