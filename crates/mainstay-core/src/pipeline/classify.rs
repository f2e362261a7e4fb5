use std::time::Duration;

use crate::breaker::Verdict;
use crate::retry::Retryable;

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome<'a, T, E> {
    /// With a result, which need not be a good one.
    Done(&'a T),
    /// With an error.
    Failed(&'a E),
    /// Not in its time. It may have been carried out.
    TimedOut,
}

/// What the end of an attempt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judgement {
    /// About the dependency.
    pub verdict: Verdict,
    /// About another attempt.
    pub retry: Retryable,
}

impl Judgement {
    /// The dependency works.
    pub const SUCCESS: Self = Self { verdict: Verdict::Success, retry: Retryable::No };
    /// It does not, and another attempt may succeed and does no harm.
    pub const TRANSIENT: Self = Self { verdict: Verdict::Failure, retry: Retryable::Yes };
    /// It does not, and the call must not be repeated, or would fail again.
    pub const FATAL: Self = Self { verdict: Verdict::Failure, retry: Retryable::No };
    /// It does not, and has tried again itself already: whoever called this must not either.
    pub const EXHAUSTED: Self = Self { verdict: Verdict::Failure, retry: Retryable::Exhausted };
    /// The caller's own fault: nothing about the dependency.
    pub const REFUSED: Self = Self { verdict: Verdict::Ignore, retry: Retryable::No };

    /// The dependency asks to be left alone for so long.
    #[must_use]
    pub const fn busy(time: Duration) -> Self {
        Self { verdict: Verdict::FailureFor(time), retry: Retryable::After(time) }
    }

    /// The same about the dependency, and no other attempt.
    #[must_use]
    pub const fn once(self) -> Self {
        Self { retry: Retryable::No, ..self }
    }

    pub(super) const fn is_failure(self) -> bool {
        matches!(self.verdict, Verdict::Failure | Verdict::FailureFor(_))
    }
}

/// Judges how attempts end. A closure `Fn(Outcome<'_, T, E>) -> Judgement` does.
pub trait Classify<T, E>: Sync {
    /// What this says. Must not block.
    fn judge(&self, outcome: Outcome<'_, T, E>) -> Judgement;
}

impl<T, E, F: Fn(Outcome<'_, T, E>) -> Judgement + Sync> Classify<T, E> for F {
    fn judge(&self, outcome: Outcome<'_, T, E>) -> Judgement {
        self(outcome)
    }
}
