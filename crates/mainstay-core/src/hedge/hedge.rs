//! The handle.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{Either, select};

use super::instruments::{DELAY, Instruments};
use super::policy::Policy;
use crate::budget::Budget;
use crate::latency::Latencies;
use crate::metrics::{Counter, Metrics};
use crate::policy::{PolicyError, check_name};
use crate::time::{Clock, Moment};

/// Makes late calls a second time. Clones share it.
#[derive(Clone)]
pub struct Hedge(Arc<Core>);

struct Core {
    name: Box<str>,
    policy: ArcSwap<Policy>,
    budget: Budget,
    clock: Clock,
    instruments: Instruments,
    latencies: Latencies,
}

impl Hedge {
    /// Follows `policy` and pays from `budget`, which it should share with the retry around it; `name` is the
    /// label of its metrics.
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
        check_name("hedge", name)?;
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
            let Some(core) = weak.upgrade() else { return };
            if let Some(delay) = core.delay() {
                sink.gauge(DELAY, &[("name", &core.name)], delay.as_secs_f64());
            }
        });
        Ok(Self(core))
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The policy it follows.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.0.policy.load_full()
    }

    /// Follows another policy from the next call on. The latencies it knows stay; a new percentile of them is
    /// worked out with the next few.
    ///
    /// # Errors
    /// As [`Policy::check`]; nothing has changed then.
    pub fn configure(&self, policy: Policy) -> Result<(), PolicyError> {
        policy.check()?;
        self.0.policy.store(Arc::new(policy));
        Ok(())
    }

    /// After how long a call would be made a second time; `None` while too few latencies are known.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        self.0.delay()
    }

    /// Calls `op` with the number of the attempt: 1, and perhaps 2. Dropping the future drops both.
    ///
    /// # Errors
    /// Of the first attempt, if no other succeeded.
    pub async fn call<T, E, F>(&self, mut op: impl FnMut(u32) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let core = &*self.0;
        let begun = core.clock.now();
        let mut first = pin!(core.timed(begun, op(1)));
        let late = match core.delay() {
            Some(delay) => tokio::time::timeout(delay, first.as_mut()).await,
            None => Ok(first.as_mut().await),
        };
        match late {
            Ok(result) => result,
            Err(_) if core.budget.withdraw() => core.race(begun, first, op(2)).await,
            Err(_) => {
                core.instruments.unpaid.increment(1);
                first.await
            }
        }
    }
}

impl Core {
    fn delay(&self) -> Option<Duration> {
        let policy = self.policy.load();
        let usual = self.latencies.percentile(policy.min_samples)?;
        Some(usual.clamp(policy.min_delay, policy.max_delay))
    }

    /// The first attempt: how long it took is remembered if it succeeds.
    async fn timed<T, E>(&self, begun: Moment, attempt: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let result = attempt.await;
        if result.is_ok() {
            self.record(begun);
        }
        result
    }

    fn record(&self, begun: Moment) {
        let latency = self.clock.now().saturating_since(begun);
        self.latencies.record(latency, self.policy.load().percentile);
    }

    async fn race<T, E>(
        &self,
        begun: Moment,
        first: Pin<&mut impl Future<Output = Result<T, E>>>,
        second: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut race = Race { core: self, begun, won: &self.instruments.none, first_ended: false };
        match select(first, pin!(second)).await {
            Either::Left((first, second)) => {
                race.first_ended = true;
                match first {
                    Ok(value) => Ok(race.first_won(value)),
                    Err(error) => second.await.map(|value| race.second_won(value)).map_err(|_| error),
                }
            }
            Either::Right((Ok(value), _)) => Ok(race.second_won(value)),
            Either::Right((Err(_), first)) => {
                let first = first.await;
                race.first_ended = true;
                first.map(|value| race.first_won(value))
            }
        }
    }
}

/// Two attempts under way. Counts them when it is over, however that comes.
struct Race<'a> {
    core: &'a Core,
    begun: Moment,
    won: &'a Counter,
    first_ended: bool,
}

impl Race<'_> {
    fn first_won<T>(&mut self, value: T) -> T {
        self.won = &self.core.instruments.first;
        value
    }

    fn second_won<T>(&mut self, value: T) -> T {
        self.won = &self.core.instruments.second;
        value
    }
}

impl Drop for Race<'_> {
    fn drop(&mut self) {
        self.won.increment(1);
        // It was at least this late: to leave it out would make the usual look faster than it is.
        if !self.first_ended {
            self.core.record(self.begun);
        }
    }
}

impl fmt::Debug for Hedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge")
            .field("name", &self.0.name)
            .field("delay", &self.delay())
            .finish_non_exhaustive()
    }
}
