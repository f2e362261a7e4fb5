use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::Breaker;
use super::error::Error;
use super::permit::Permit;

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
        let permit = self.try_acquire()?;
        let result = operation().await;
        match &result {
            Ok(_) => permit.success(),
            Err(_) => permit.failure(),
        }
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
        let permit = self.try_acquire()?;
        let result = operation().await;
        permit.judged(|| classify(&result));
        result.map_err(Error::Inner)
    }

    /// As [`Breaker::call`], for what does not wait.
    ///
    /// # Errors
    /// As [`Breaker::call`].
    pub fn call_blocking<T, E>(&self, operation: impl FnOnce() -> Result<T, E>) -> Result<T, Error<E>> {
        let permit = self.try_acquire()?;
        let result = operation();
        match &result {
            Ok(_) => permit.success(),
            Err(_) => permit.failure(),
        }
        result.map_err(Error::Inner)
    }
}

impl Permit<'_> {
    fn judged(self, classify: impl FnOnce() -> Verdict) {
        match catch_unwind(AssertUnwindSafe(classify)) {
            Ok(verdict) => self.end_as(verdict),
            Err(panic) => {
                self.failure();
                resume_unwind(panic);
            }
        }
    }
}
