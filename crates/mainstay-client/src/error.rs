use std::time::Duration;

use mainstay_core::pipeline;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The breaker of every endpoint is open: nothing was sent.
    #[error("the service is not called for {retry_after:?}: its circuit breaker is open")]
    Open {
        /// After so long it is worth trying again.
        retry_after: Duration,
    },
    /// Too many requests are under way: nothing was sent.
    #[error("too many requests are under way")]
    Full,
    /// No answer in time. The request may have been carried out.
    #[error("no answer in time")]
    TimedOut,
    /// No connection: nothing was sent. (After a redirect it is [`Error::Broken`].)
    #[error("no connection")]
    Connect(#[source] Source),
    /// Its host, or that of a redirect, is at no address that this client may call: nothing was sent there.
    #[error("out of reach: {reason}")]
    OutOfReach {
        /// For the log.
        reason: String,
    },
    /// The path, a header or the body cannot be sent: nothing was.
    #[error("the request is invalid: {reason}")]
    Invalid {
        /// Which, and why.
        reason: String,
    },
    /// The answer is longer than [`Options::max_body`](crate::Options::max_body).
    #[error("the answer is longer than {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// The connection broke, or what came over it was no HTTP. The request may have been carried out.
    #[error("the connection failed")]
    Broken(#[source] Source),
}

/// What went wrong below; for the log.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// Whether surely nothing was sent, by this attempt at least. What is out of reach may have been redirected there,
    /// by who carried it out.
    #[must_use]
    pub const fn is_not_sent(&self) -> bool {
        !matches!(self, Self::TimedOut | Self::OutOfReach { .. } | Self::TooLarge { .. } | Self::Broken(_))
    }

    /// What cannot be sent, or be a client.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }
}

impl From<pipeline::Error<Self>> for Error {
    fn from(error: pipeline::Error<Self>) -> Self {
        match error {
            pipeline::Error::Inner(error) => error,
            pipeline::Error::Open(open) => Self::Open { retry_after: open.retry_after },
            pipeline::Error::Full { .. } => Self::Full,
            _ => Self::TimedOut,
        }
    }
}
