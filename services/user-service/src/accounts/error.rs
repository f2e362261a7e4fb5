//! What can go wrong with accounts, by what the client can do about it.

use std::time::Duration;

use mainstay::auth;

use crate::users;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address, the password or the token is wrong. Which of them is not told, nor whether the account exists.
    #[error("not recognised")]
    NotRecognised,
    /// Too many attempts.
    #[error("too many attempts")]
    TooMany { retry_after: Duration },
    /// No session of the caller has this id.
    #[error("no such session")]
    NoSuchSession,
    /// Whatever can be wrong with a user.
    #[error(transparent)]
    User(#[from] users::Error),
    /// Passwords cannot be hashed now.
    #[error(transparent)]
    Password(#[from] auth::password::Error),
    /// Sessions cannot be read or written.
    #[error(transparent)]
    Session(#[from] auth::session::Error),
    /// A token cannot be issued.
    #[error(transparent)]
    Token(#[from] auth::token::Error),
    /// What limits the attempts does not answer.
    #[error(transparent)]
    Limit(#[from] mainstay::rate_limit::Error),
}
