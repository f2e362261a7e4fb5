use async_trait::async_trait;

use crate::Principal;

/// Recognises callers by the token they bring.
#[async_trait]
pub trait Authenticate: Send + Sync {
    /// Who brings this token, the text behind `Bearer`.
    ///
    /// # Errors
    /// [`Refused::Invalid`] for whatever is wrong with it; [`Refused::Unavailable`] where that cannot be told now.
    async fn authenticate(&self, token: &str) -> Result<Principal, Refused>;
}

/// Why a caller was not recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The token is no good. The caller is not told why: that would help who is guessing.
    #[error("the token is not valid")]
    Invalid,
    /// What is needed to judge it does not answer: the keys, or the list of what was revoked.
    #[error("tokens cannot be judged at the moment")]
    Unavailable,
}
