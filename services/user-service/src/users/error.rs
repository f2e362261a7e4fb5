//! What can go wrong with users, by what the client can do about it.

use std::borrow::Cow;

use serde::Serialize;

/// One thing wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    /// The field as the client wrote it, such as `email`.
    pub(crate) field: Cow<'static, str>,
    /// For programs: `required`, `too_long`, `invalid` or `unknown`.
    pub(crate) code: &'static str,
    /// For people. Never repeats the value.
    pub(crate) message: &'static str,
}

impl FieldError {
    pub(crate) fn new(
        field: impl Into<Cow<'static, str>>,
        code: &'static str,
        message: &'static str,
    ) -> Self {
        Self { field: field.into(), code, message }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Every problem of the request at once; never empty.
    #[error("invalid input: {0:?}")]
    Invalid(Vec<FieldError>),
    /// No such user, or deleted.
    #[error("no such user")]
    NotFound,
    /// Another user has this e-mail address.
    #[error("e-mail address already in use")]
    EmailTaken,
    /// The user is no longer at the version the client expected.
    #[error("the user is at version {current}, not at the expected one")]
    Stale { current: i64 },
    /// The idempotency key was used for a different request.
    #[error("idempotency key was used for a different request")]
    KeyReused,
    /// The database failed; [`mainstay::sql::Error::is_transient`] says whether a retry can help.
    #[error(transparent)]
    Store(#[from] mainstay::sql::Error),
    /// A phone number could not be sealed.
    #[error(transparent)]
    Seal(mainstay::auth::seal::Error),
    /// The change could not be announced, so it was not made.
    #[error(transparent)]
    Announce(#[from] mainstay::event::Error),
    /// A read failed that others wait for as well: the cause belongs to all of them.
    #[error(transparent)]
    Read(mainstay::cache::Error),
}

impl Error {
    /// The problems there are.
    pub(crate) fn invalid(problems: impl IntoIterator<Item = Option<FieldError>>) -> Self {
        Self::Invalid(problems.into_iter().flatten().collect())
    }
}
