use std::time::Duration;

use crate::policy::{self, PolicyError};
use crate::{adaptive, bulkhead, hedge, retry};

/// How the number of calls under way is bounded.
#[derive(Debug, Clone)]
pub enum Limit {
    /// By a number, with a line for the others.
    Fixed(bulkhead::Policy),
    /// By a number that follows how fast the dependency answers, without a line.
    Adaptive(adaptive::Policy),
}

/// How calls are made. Plain data with complete defaults; the breaker has its own.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Policy {
    /// For a whole call, with all attempts and the waits between them. Default 10 s.
    pub deadline: Duration,
    /// For one attempt, once it has a place; with its hedge. Default 3 s.
    pub attempt_timeout: Duration,
    /// When a call is tried again.
    pub retry: retry::Policy,
    /// What retries and hedges are paid from.
    pub budget: retry::BudgetPolicy,
    /// How many calls are under way.
    pub limit: Limit,
    /// When a second attempt is made beside a slow first. Only calls that may be repeated are hedged: those whose
    /// [`Outcome::TimedOut`](super::Outcome::TimedOut) is judged as retryable. Default `None`: never.
    pub hedge: Option<hedge::Policy>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(3),
            retry: retry::Policy::default(),
            budget: retry::BudgetPolicy::default(),
            limit: Limit::Fixed(bulkhead::Policy::default()),
            hedge: None,
        }
    }
}

impl Policy {
    /// Whether a pipeline can work so.
    ///
    /// # Errors
    /// Names the first part and field that cannot be.
    pub fn check(&self) -> Result<(), PolicyError> {
        let rules = [
            (!self.deadline.is_zero(), "deadline", "must be above 0"),
            (!self.attempt_timeout.is_zero(), "attempt_timeout", "must be above 0"),
            (self.attempt_timeout <= self.deadline, "attempt_timeout", "must not be above deadline"),
        ];
        policy::check("pipeline", rules)?;
        self.retry.check()?;
        self.budget.check()?;
        match &self.limit {
            Limit::Fixed(fixed) => fixed.check()?,
            Limit::Adaptive(adaptive) => adaptive.check()?,
        }
        self.hedge.as_ref().map_or(Ok(()), hedge::Policy::check)
    }
}
