use std::convert::Infallible;
use std::ops::Deref;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use mainstay_auth::Principal;

use crate::Problem;

/// The caller of this request, as an extractor. On a public route there is none, whatever token is brought: `Caller`
/// is then a 401, `Option<Caller>` is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub Principal);

impl Caller {
    /// Passes a caller who owns what is asked for, or has the permission to touch what is everybody's.
    ///
    /// # Errors
    /// `403`, whether there is such a thing or not: ask before it is looked for, and nobody learns from the answer
    /// what exists.
    pub fn must_own(&self, owner: &str, or_permission: &str) -> Result<(), Problem> {
        if self.may_touch(owner, or_permission) { Ok(()) } else { Err(Problem::forbidden()) }
    }

    /// Passes a caller with this permission: for what a rule of the whole route cannot say.
    ///
    /// # Errors
    /// `403`.
    pub fn must(&self, permission: &str) -> Result<(), Problem> {
        if self.may(permission) { Ok(()) } else { Err(Problem::forbidden()) }
    }
}

impl Deref for Caller {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().map(Self).ok_or_else(Problem::unauthorized)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned().map(Self))
    }
}
