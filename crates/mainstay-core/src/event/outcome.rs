//! How a handler says what became of an event.

use std::fmt::Write;
use std::time::Duration;

/// Longest cause that is kept with a dead letter, in bytes.
const MAX_CAUSE: usize = 1024;

/// What a handler made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is done.
    Done,
    /// Not now: it is delivered again, if it has attempts left.
    Retry {
        /// When; `None` is the subscription's backoff.
        after: Option<Duration>,
    },
    /// It went wrong, and why: delivered again like [`Outcome::Retry`]; the last reason goes to the dead letters.
    Failed {
        /// For the operator.
        reason: String,
    },
    /// It will never work: to the dead letters at once.
    Reject {
        /// For the operator.
        reason: String,
    },
}

/// What a handler may return: nothing, an [`Outcome`], or a `Result` of these, whose error is
/// [`Outcome::Failed`] with the error and its causes as the reason.
///
/// ```
/// use mainstay_core::event::{IntoOutcome, Outcome};
///
/// assert_eq!(().into_outcome(), Outcome::Done);
/// let failed: Result<(), &str> = Err("no connection");
/// assert_eq!(failed.into_outcome(), Outcome::Failed { reason: "no connection".into() });
/// ```
pub trait IntoOutcome {
    /// As an outcome.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::Done
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl<O: IntoOutcome, E: Into<Box<dyn std::error::Error + Send + Sync>>> IntoOutcome for Result<O, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(outcome) => outcome.into_outcome(),
            Err(error) => Outcome::Failed { reason: with_causes(&*error.into()) },
        }
    }
}

/// An error's text and those of its causes, within [`MAX_CAUSE`].
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    // An error may be its own cause.
    while let Some(error) = cause
        && text.len() <= MAX_CAUSE
    {
        // Only a `Display` that fails by itself fails here, and then there is no text to lose.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    shortened(text)
}

/// The text, at most [`MAX_CAUSE`] bytes of it.
pub(super) fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_CAUSE));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes_and_within_bounds() {
        let error = crate::codec::Codec::Json.decode::<u32>(b"x").unwrap_err();
        assert_eq!(with_causes(&error), error.to_string());
        assert!(error.to_string().contains("expected value"), "{error}");
        assert_eq!(shortened("é".repeat(1 << 20)).len(), MAX_CAUSE);
        assert_eq!(with_causes(&Endless).len(), MAX_CAUSE);
    }

    #[derive(Debug)]
    struct Endless;

    impl std::fmt::Display for Endless {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("again")
        }
    }

    impl std::error::Error for Endless {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&Endless)
        }
    }
}
