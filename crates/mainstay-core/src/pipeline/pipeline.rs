use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arc_swap::ArcSwap;

use super::classify::{Classify, Judgement, Outcome};
use super::error::Error;
use super::limit::Limit;
use super::policy::Policy;
use crate::breaker::{Breaker, Open, Permit, Verdict};
use crate::deadline::{self, Deadline, Elapsed};
use crate::hedge::Hedge;
use crate::metrics::{Counter, Metrics, Unit};
use crate::policy::{PolicyError, check_name};
use crate::retry::{Budget, Retry, Retryable};
use crate::time::Clock;

/// Makes calls to one dependency by one set of policies. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Pipeline(Arc<Core>);

struct Core {
    name: Arc<str>,
    policy: ArcSwap<Policy>,
    breaker: Breaker,
    retry: Retry,
    limit: Limit,
    hedge: Hedge,
    instruments: Instruments,
}

/// Which attempt of a call this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Whether it is made beside a slow one of the same number.
    pub is_hedge: bool,
}

/// An attempt with a result, and what that says.
type Judged<T, E> = (Result<T, Error<E>>, Judgement);

impl Pipeline {
    /// Makes calls by `policy`, through `breaker`; `name` is the label of its metrics.
    ///
    /// # Errors
    /// As [`Policy::check`], or the name is none.
    pub fn new(
        name: &str,
        policy: Policy,
        breaker: Breaker,
        metrics: &Metrics,
        clock: Clock,
    ) -> Result<Self, PolicyError> {
        check_name("pipeline", name)?;
        policy.check()?;
        let budget = Budget::new(policy.budget, clock.clone())?;
        let hedging = policy.hedge.clone().unwrap_or_default();
        let core = Core {
            name: name.into(),
            breaker,
            retry: Retry::new(name, policy.retry.clone(), budget.clone(), metrics, clock.clone())?,
            limit: Limit::new(name, &policy.limit, metrics, clock.clone())?,
            hedge: Hedge::new(name, hedging, budget, metrics, clock)?,
            instruments: Instruments::new(name, metrics),
            policy: ArcSwap::from_pointee(policy),
        };
        Ok(Self(Arc::new(core)))
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What it lets calls through.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.0.breaker
    }

    /// The policy it follows.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.0.policy.load_full()
    }

    /// Goes on by another policy, calls under way too as far as they have still to decide. Nothing that is counted is
    /// lost. The kind of limit stays.
    ///
    /// # Errors
    /// As [`Policy::check`], or the limit is of another kind; nothing has changed then.
    pub fn configure(&self, policy: Policy) -> Result<(), PolicyError> {
        let core = &*self.0;
        policy.check()?;
        core.limit.fits(&policy.limit)?;
        core.retry.configure(policy.retry.clone())?;
        core.retry.budget().configure(policy.budget)?;
        core.limit.configure(&policy.limit)?;
        core.hedge.configure(policy.hedge.clone().unwrap_or_default())?;
        core.policy.store(Arc::new(policy));
        Ok(())
    }

    /// Calls `op` until an attempt succeeds, may not be repeated, or is not paid for; `classify` judges each.
    /// Dropping the future drops the attempt under way.
    ///
    /// # Errors
    /// [`Error`] says whether anything was sent. A result that was judged a failure is still an `Ok`, if nothing better
    /// came.
    pub async fn call<T, E, F>(
        &self,
        classify: impl Classify<T, E>,
        op: impl Fn(Attempt) -> F,
    ) -> Result<T, Error<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.call_to(|_| Ok(((), self.0.breaker.try_acquire()?)), classify, |(), attempt| op(attempt)).await
    }

    /// As [`Pipeline::call`], where each attempt has a place that it goes to, with a breaker of its own: `route` is
    /// asked for it before each, with the attempt's number.
    ///
    /// # Errors
    /// As [`Pipeline::call`].
    pub async fn call_to<'a, P, T, E, F>(
        &'a self,
        route: impl Fn(u32) -> Result<(P, Permit<'a>), Open>,
        classify: impl Classify<T, E>,
        op: impl Fn(&P, Attempt) -> F,
    ) -> Result<T, Error<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let core = &*self.0;
        let attempts = core.retry.call(
            |(_, judgement): &Judged<T, E>| judgement.retry,
            async |number| {
                let judged = match route(number) {
                    Ok((place, permit)) => {
                        core.attempt(permit, &classify, |is_hedge| op(&place, Attempt { number, is_hedge }))
                            .await
                    }
                    Err(open) => (Err(Error::Open(open)), Judgement::REFUSED),
                };
                if judged.1.retry == Retryable::No { Ok(judged) } else { Err(judged) }
            },
        );
        let deadline = core.policy.load().deadline;
        let (result, judgement) = match deadline::timeout(deadline, attempts).await {
            Ok(Ok(judged) | Err(judged)) => judged,
            Err(elapsed) => (Err(Error::TimedOut(elapsed)), Judgement::FATAL),
        };
        core.instruments.of(&result, judgement).increment(1);
        result
    }
}

impl Core {
    /// One attempt that the breaker has let pass.
    async fn attempt<T, E, F>(
        &self,
        permit: Permit<'_>,
        classify: &impl Classify<T, E>,
        op: impl Fn(bool) -> F,
    ) -> Judged<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let Some(place) = self.limit.acquire().await else {
            permit.ignore();
            return (Err(Error::Full { name: Arc::clone(&self.name) }), Judgement::REFUSED);
        };
        let (time, hedged) = {
            let policy = self.policy.load();
            (policy.attempt_timeout, policy.hedge.is_some())
        };
        let mut trial = Trial { permit: Some(permit), is_judging: AtomicBool::new(false) };
        let judge = |outcome: Outcome<'_, T, E>| trial.judge(classify, outcome);
        // A hedge repeats what may be under way, like another attempt after one of which nobody knows the end.
        let hedged = hedged && judge(Outcome::TimedOut).retry != Retryable::No;
        let had = Deadline::current().map_or(time, |deadline| deadline.remaining().min(time));
        // A result that counts as a failure is an error to the hedge: the other may do better.
        let judged = async |is_hedge| {
            let result = op(is_hedge).await;
            let judgement = judge(match &result {
                Ok(done) => Outcome::Done(done),
                Err(error) => Outcome::Failed(error),
            });
            let judged = (result.map_err(Error::Inner), judgement);
            if judgement.is_failure() { Err(judged) } else { Ok(judged) }
        };
        let attempt = async {
            if hedged { self.hedge.call(|number| judged(number > 1)).await } else { judged(false).await }
        };
        let (result, judgement, timed_out) = match deadline::timeout(time, attempt).await {
            Ok(Ok((result, judgement)) | Err((result, judgement))) => (result, judgement, false),
            Err(elapsed) => {
                let judgement = judge(Outcome::TimedOut);
                if had < time.mul_f32(0.9) {
                    // Cut short by the caller: that says nothing. Dropped, permit and place are free.
                    return (Err(Error::TimedOut(elapsed)), judgement.once());
                }
                let retry = if elapsed == Elapsed::Deadline { Retryable::No } else { judgement.retry };
                (Err(Error::TimedOut(elapsed)), Judgement { retry, ..judgement }, true)
            }
        };
        trial.end(judgement.verdict);
        place.leave(judgement, timed_out);
        (result, judgement)
    }
}

/// An attempt whose result is still to be judged. A panic in the attempt says nothing about the dependency, as if the
/// attempt had been cancelled; one in its judgement counts as a failure: nobody can say that the dependency works.
struct Trial<'a> {
    permit: Option<Permit<'a>>,
    is_judging: AtomicBool,
}

impl Trial<'_> {
    fn judge<T, E>(&self, classify: &impl Classify<T, E>, outcome: Outcome<'_, T, E>) -> Judgement {
        self.is_judging.store(true, Relaxed);
        let judgement = classify.judge(outcome);
        self.is_judging.store(false, Relaxed);
        judgement
    }

    fn end(&mut self, verdict: Verdict) {
        if let Some(permit) = self.permit.take() {
            permit.end_as(verdict);
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if self.is_judging.load(Relaxed) {
            self.end(Verdict::Failure);
        }
    }
}

const CALLS: &str = "pipeline_calls_total";

struct Instruments {
    success: Counter,
    failure: Counter,
    open: Counter,
    full: Counter,
    timeout: Counter,
}

impl Instruments {
    fn new(name: &str, metrics: &Metrics) -> Self {
        metrics.describe_counter(CALLS, Unit::None, "Calls through a pipeline, by how they ended.");
        let ended = |outcome| metrics.counter(CALLS).with(&[("name", name), ("outcome", outcome)]);
        Self {
            success: ended("success"),
            failure: ended("failure"),
            open: ended("open"),
            full: ended("full"),
            timeout: ended("timeout"),
        }
    }

    const fn of<T, E>(&self, result: &Result<T, Error<E>>, judgement: Judgement) -> &Counter {
        match result {
            Ok(_) if !judgement.is_failure() => &self.success,
            Ok(_) | Err(Error::Inner(_)) => &self.failure,
            Err(Error::Open(_)) => &self.open,
            Err(Error::Full { .. }) => &self.full,
            Err(Error::TimedOut(_)) => &self.timeout,
        }
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("name", &self.0.name).finish_non_exhaustive()
    }
}
