use axum::extract::FromRequestParts;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use http::request::Parts;
use mainstay_core::key::InvalidKey;

use crate::{FieldError, Problem};

/// The name at the end of the path, decoded: `a%2Fb` is `a/b`, one name like any other. Unlike an id, a name
/// that cannot be read is the client's mistake and no missing thing: `400`.
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(name)) => Ok(Self(name)),
            Err(PathRejection::FailedToDeserializePathParams(error))
                if matches!(error.kind(), ErrorKind::InvalidUtf8InPathParam { .. }) =>
            {
                Err(Problem::bad_request("The name in the path is not UTF-8."))
            }
            Err(other) => Err(Problem::internal(&other)),
        }
    }
}

/// 422 for a name that cannot be a key.
pub(super) fn invalid(error: InvalidKey) -> Problem {
    let code = match error {
        InvalidKey::TooLong { .. } => "too_long",
        _ => "required",
    };
    Problem::validation([FieldError::new("key", code, error.to_string())])
}
