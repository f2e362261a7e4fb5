use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::Breaker;
use super::breaker::Shared;
use super::error::{Error, Open};
use super::gate::{Outcome, Ticket};

/// What a result says about the dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It works.
    Success,
    /// It does not.
    Failure,
    /// Nothing: the caller's own fault, for instance.
    Ignore,
    /// It does not, and said how long to stay away.
    FailureFor(Duration),
}

impl Breaker {
    /// Makes a call if the breaker lets it pass: `Ok` is a success, `Err` a failure.
    ///
    /// Dropping the future, or a panic in it, leaves no trace but in the metrics.
    ///
    /// # Errors
    /// [`Error::Open`] if nothing was called, [`Error::Inner`] with the call's own error.
    pub async fn call<T, E, F>(&self, operation: impl FnOnce() -> F) -> Result<T, Error<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut call = Call::begin(self.shared())?;
        let result = operation().await;
        call.end(if result.is_ok() { Verdict::Success } else { Verdict::Failure });
        result.map_err(Error::Inner)
    }

    /// As [`Breaker::call`], where `classify` says which results count as failures. A panic in it counts as one,
    /// and goes on.
    ///
    /// # Errors
    /// As [`Breaker::call`].
    pub async fn call_with<T, E, F>(
        &self,
        classify: impl FnOnce(&Result<T, E>) -> Verdict,
        operation: impl FnOnce() -> F,
    ) -> Result<T, Error<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut call = Call::begin(self.shared())?;
        let result = operation().await;
        match catch_unwind(AssertUnwindSafe(|| classify(&result))) {
            Ok(verdict) => call.end(verdict),
            Err(panic) => {
                call.end(Verdict::Failure);
                resume_unwind(panic);
            }
        }
        result.map_err(Error::Inner)
    }

    /// As [`Breaker::call`], for what does not wait.
    ///
    /// # Errors
    /// As [`Breaker::call`].
    pub fn call_blocking<T, E>(&self, operation: impl FnOnce() -> Result<T, E>) -> Result<T, Error<E>> {
        let mut call = Call::begin(self.shared())?;
        let result = operation();
        call.end(if result.is_ok() { Verdict::Success } else { Verdict::Failure });
        result.map_err(Error::Inner)
    }
}

impl Verdict {
    pub(super) const fn outcome(self) -> Outcome {
        match self {
            Self::Success => Outcome::Success,
            // For no time at all it is a failure like others.
            Self::Failure | Self::FailureFor(Duration::ZERO) => Outcome::Failure,
            Self::Ignore => Outcome::Ignored,
            Self::FailureFor(time) => Outcome::FailureFor(time),
        }
    }
}

/// What a [`Permit`](super::Permit) is to others, but it stays where it is: to move one in and out of a future costs as
/// much as all the rest of a call.
struct Call<'a> {
    breaker: &'a Shared,
    ticket: Ticket,
    is_over: bool,
}

impl<'a> Call<'a> {
    #[inline]
    fn begin(breaker: &'a Shared) -> Result<Self, Open> {
        let ticket = match breaker.pass() {
            Some(ticket) => ticket,
            None => breaker.admit_open()?,
        };
        Ok(Self { breaker, ticket, is_over: false })
    }

    #[inline]
    fn end(&mut self, verdict: Verdict) {
        self.is_over = true;
        match verdict.outcome() {
            Outcome::Success => self.breaker.succeed(&self.ticket),
            outcome => self.breaker.end(&self.ticket, outcome),
        }
    }
}

impl Drop for Call<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_over {
            self.breaker.end(&self.ticket, Outcome::Cancelled);
        }
    }
}
