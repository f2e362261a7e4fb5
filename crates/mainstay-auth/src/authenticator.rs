use async_trait::async_trait;

use crate::revocation::{Check, Revocations};
use crate::token::{Error, Verifier};
use crate::{Authenticate, Principal, Refused, Roles};

/// Recognises callers by tokens: they are verified, looked for among the revoked ones, and their roles say what is
/// permitted. Cheap to clone.
///
/// A caller is refused with [`Refused::Invalid`] whatever is wrong with the token, and with [`Refused::Unavailable`] if
/// that cannot be told: the keys are elsewhere and not known, or the revocations do not answer and the rule is to
/// refuse then.
#[derive(Debug, Clone)]
pub struct Authenticator {
    verifier: Verifier,
    roles: Roles,
    revocations: Option<Revocations>,
}

impl Authenticator {
    /// One that takes what `verifier` lets pass and `revocations` do not take away.
    #[must_use]
    pub fn new(verifier: Verifier, roles: Roles, revocations: Option<Revocations>) -> Self {
        Self { verifier, roles, revocations }
    }
}

#[async_trait]
impl Authenticate for Authenticator {
    async fn authenticate(&self, token: &str) -> Result<Principal, Refused> {
        let claims = self.verifier.verify(token).await.map_err(|error| match error {
            Error::Unavailable => Refused::Unavailable,
            _ => Refused::Invalid,
        })?;
        if let Some(revocations) = &self.revocations {
            match revocations.check(&claims).await {
                Check::Clear => {}
                Check::Revoked => return Err(Refused::Invalid),
                Check::Unavailable => return Err(Refused::Unavailable),
            }
        }
        let permissions = self.roles.permissions(claims.roles.iter().map(String::as_str));
        let mut principal =
            Principal::new(&claims.subject).with_roles(claims.roles).with_permissions(permissions);
        if let Some(session) = &claims.session {
            principal = principal.with_session(session);
        }
        if let Some(id) = &claims.id {
            principal = principal.with_token(id, claims.expires);
        }
        Ok(principal)
    }
}
