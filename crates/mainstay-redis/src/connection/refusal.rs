//! Why a server was not taken.

use std::time::Duration;

use redis::{ErrorKind, RedisError};

/// Why a server was not taken. Its text never holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    #[error("no connection: {0}")]
    Unreachable(Box<str>),
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error("the server does not know this user and password")]
    Credentials,
    /// A right or a database that this user or server does not have, in the server's words.
    #[error("the server refuses this user or database: {0}")]
    Forbidden(Box<str>),
    #[error("the server is a {0}, and a primary is needed")]
    Role(Box<str>),
    #[error("the server is still reading its data from disk")]
    Loading,
    #[error("Redis 6.0 or later is needed, and the server is {0}")]
    TooOld(Box<str>),
    #[error("TLS: {0}")]
    Tls(Box<str>),
    #[error("the server answers otherwise than Redis does: {0}")]
    Unexpected(Box<str>),
}

impl Refusal {
    /// What a server said to a question of the handshake.
    pub(crate) fn answered(code: &str, details: &str) -> Self {
        // Of a command that it does not know, it repeats the words: a password may be among them.
        let details = details.split_once(", with args").map_or(details, |(said, _words)| said);
        match code {
            "WRONGPASS" | "NOAUTH" => Self::Credentials,
            "LOADING" => Self::Loading,
            "READONLY" | "MASTERDOWN" => Self::Role("replica".into()),
            _ => Self::Forbidden(format!("{code} {details}").into()),
        }
    }
}

impl From<RedisError> for Refusal {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Credentials,
            ErrorKind::RESP3NotSupported => Self::TooOld("older".into()),
            ErrorKind::Io => Self::Unreachable(error.to_string().into()),
            ErrorKind::Server(_) | ErrorKind::Extension => {
                Self::answered(error.code().unwrap_or("ERR"), error.detail().unwrap_or_default())
            }
            _ => Self::Unexpected(error.to_string().into()),
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Unreachable(error.to_string().into())
    }
}
