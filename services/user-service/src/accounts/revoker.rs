//! Ends what was issued under a right that is gone.

use async_trait::async_trait;
use mainstay::auth::revocation::Revocations;
use mainstay::auth::session::Sessions;

use crate::users::Consequences;

/// Tokens say what their owner may do until they expire, unless they are revoked. What fails here is logged and not
/// the end of the write: a session cannot be refreshed into a right that its user no longer has, and a token outlives
/// it by its short life at most.
pub(crate) struct Revoker {
    sessions: Sessions,
    revocations: Revocations,
}

impl Revoker {
    pub(crate) fn new(sessions: Sessions, revocations: Revocations) -> Self {
        Self { sessions, revocations }
    }

    /// Ends every session and every token of this user.
    pub(crate) async fn sign_out_everywhere(&self, user: &str) {
        if let Err(error) = self.sessions.revoke_all(user).await {
            tracing::warn!(%error, user, "sessions not ended");
        }
        self.revoke_tokens(user).await;
    }

    async fn revoke_tokens(&self, user: &str) {
        if let Err(error) = self.revocations.revoke_subject(user).await {
            tracing::warn!(%error, user, "tokens not revoked: they are good until they expire");
        }
    }
}

#[async_trait]
impl Consequences for Revoker {
    async fn role_changed(&self, user: &str) {
        // Sessions stay: the next refresh issues a token with the new role.
        self.revoke_tokens(user).await;
    }

    async fn deleted(&self, user: &str) {
        self.sign_out_everywhere(user).await;
    }
}
