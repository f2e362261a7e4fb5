//! Why a command has no answer.

use std::borrow::Cow;

use mainstay_core::store::StoreError;

/// Why a command has no answer. Each kind says what may have happened on the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nothing was sent, or the server said that it did nothing: trying again later is safe.
    #[error("not sent: {reason}")]
    NotSent {
        /// For the log.
        reason: Cow<'static, str>,
    },
    /// The server answered with an error.
    #[error("refused by Redis: {code} {message}")]
    Rejected {
        /// The first word, such as `WRONGTYPE`.
        code: Box<str>,
        /// The rest.
        message: Box<str>,
    },
    /// It was sent and no answer came: it may have been carried out, once.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// For the log.
        reason: Cow<'static, str>,
    },
}

impl CallError {
    pub(crate) fn not_sent(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::NotSent { reason: reason.into() }
    }

    pub(crate) fn unknown(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Unknown { reason: reason.into() }
    }

    pub(crate) fn rejected(code: &str, message: &str) -> Self {
        Self::Rejected { code: code.into(), message: message.into() }
    }

    /// An answer of another shape than the command has.
    pub(crate) fn unexpected(what: &str) -> Self {
        Self::rejected("UNEXPECTED", what)
    }
}

impl From<CallError> for StoreError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotSent { reason } => Self::Unavailable { reason },
            CallError::Unknown { reason } => Self::Unknown { reason },
            CallError::Rejected { code, message } => Self::rejected(format!("{code} {message}")),
        }
    }
}
