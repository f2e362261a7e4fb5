//! The handle.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::instruments::{Instruments, TOKENS};
use super::policy::Policy;
use super::watch;
use crate::backoff::Backoff;
use crate::budget::Budget;
use crate::deadline::Deadline;
use crate::latency::Latencies;
use crate::metrics::{Counter, Metrics};
use crate::policy::{PolicyError, check_name};
use crate::time::{Clock, Moment};

/// A retry is not begun with less time than the median success took, once this many are known.
const MIN_SAMPLES: u32 = 16;

/// What an error says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retryable {
    /// It would fail again, or must not be repeated.
    No,
    /// Another attempt may succeed and does no harm.
    Yes,
    /// So, but not before this much time: `Retry-After`.
    After(Duration),
    /// The other side has tried again itself, and [said so](super::watched): not again here, nor by our own
    /// caller.
    Exhausted,
}

/// Tries calls again by one policy. Clones share it.
#[derive(Clone)]
pub struct Retry(Arc<Core>);

struct Core {
    name: Box<str>,
    policy: ArcSwap<Policy>,
    budget: Budget,
    clock: Clock,
    instruments: Instruments,
    latencies: Latencies,
}

impl Retry {
    /// Follows `policy` and pays from `budget`; `name` is the label of its metrics.
    ///
    /// # Errors
    /// Names the field that cannot be, or `name`.
    pub fn new(
        name: &str,
        policy: Policy,
        budget: Budget,
        metrics: &Metrics,
        clock: Clock,
    ) -> Result<Self, PolicyError> {
        check_name("retry", name)?;
        policy.check()?;
        let core = Arc::new(Core {
            name: name.into(),
            policy: ArcSwap::from_pointee(policy),
            budget,
            clock,
            instruments: Instruments::new(name, metrics),
            latencies: Latencies::default(),
        });
        let weak = Arc::downgrade(&core);
        metrics.collect(move |sink| {
            if let Some(core) = weak.upgrade() {
                sink.gauge(TOKENS, &[("name", &core.name)], core.budget.balance());
            }
        });
        Ok(Self(core))
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What its extra attempts are paid from.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// The policy it follows.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.0.policy.load_full()
    }

    /// Follows another policy from the next failure on, calls under way among them.
    ///
    /// # Errors
    /// As [`Policy::check`]; nothing has changed then.
    pub fn configure(&self, policy: Policy) -> Result<(), PolicyError> {
        policy.check()?;
        self.0.policy.store(Arc::new(policy));
        Ok(())
    }

    /// Calls `op` with the number of the attempt, from 1, until one succeeds or may not be repeated. Dropping
    /// the future drops the attempt under way.
    ///
    /// # Errors
    /// Of the last attempt.
    pub async fn call<T, E, F>(
        &self,
        classify: impl Fn(&E) -> Retryable,
        mut op: impl FnMut(u32) -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let core = &*self.0;
        core.budget.deposit();
        let deadline = Deadline::current();
        let mut attempt = 1;
        loop {
            let begun = deadline.map(|_| core.clock.now());
            let error = match op(attempt).await {
                Ok(value) => {
                    core.succeeded(attempt, begun);
                    return Ok(value);
                }
                Err(error) => error,
            };
            let asked = match classify(&error) {
                Retryable::No => return Err(error),
                Retryable::Yes => Duration::ZERO,
                Retryable::After(time) => time,
                Retryable::Exhausted => {
                    watch::gave_up();
                    return Err(error);
                }
            };
            match core.wait(attempt, asked, deadline) {
                Ok(wait) => tokio::time::sleep(wait).await,
                Err(reason) => {
                    reason.increment(1);
                    // One that never tries again leaves that to its caller.
                    if core.policy.load().attempts > 1 {
                        watch::gave_up();
                    }
                    return Err(error);
                }
            }
            attempt += 1;
            core.instruments.attempts.increment(1);
        }
    }
}

impl Core {
    #[inline]
    fn succeeded(&self, attempt: u32, begun: Option<Moment>) {
        if attempt > 1 {
            self.instruments.recovered.increment(1);
        }
        if let Some(begun) = begun {
            self.latencies.record(self.clock.now().saturating_since(begun), 0.5);
        }
    }

    /// How long to wait before the next attempt, which has been paid for; or what counts why there is none.
    fn wait(&self, attempt: u32, asked: Duration, deadline: Option<Deadline>) -> Result<Duration, &Counter> {
        let (policy, instruments) = (self.policy.load(), &self.instruments);
        if attempt >= policy.attempts {
            return Err(&instruments.out_of_attempts);
        }
        if asked > policy.max_retry_after {
            return Err(&instruments.retry_after);
        }
        // On top: those that were all told the same time would come back together.
        let jitter = Backoff::new(policy.first, policy.max).full_jitter(attempt - 1);
        let wait = asked.saturating_add(jitter);
        if let Some(deadline) = deadline {
            let usual = self.latencies.percentile(MIN_SAMPLES).unwrap_or_default();
            if deadline.remaining() <= wait.saturating_add(usual) {
                return Err(&instruments.out_of_time);
            }
        }
        if self.budget.withdraw() { Ok(wait) } else { Err(&instruments.out_of_budget) }
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("name", &self.0.name)
            .field("policy", &self.0.policy)
            .finish_non_exhaustive()
    }
}
