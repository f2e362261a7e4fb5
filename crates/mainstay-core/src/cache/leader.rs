//! One load, in a task of its own: it ends the same way whether anybody still waits for it or not.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::key::Key;
use crate::store::StoreError;

use super::flight::{Flight, Loaded};
use super::{Cached, Entry, Error, Outcome, Policy, Settled, Shared, Tag, Token, Value};

/// Pauses between attempts to give back a lease to a store that is away.
const PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// The user's loader, not begun.
pub(super) trait Load<T>: Future<Output = Loaded<T>> + Send + 'static {}

impl<T, F: Future<Output = Loaded<T>> + Send + 'static> Load<T> for F {}

/// What a load needs to know.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: Box<str>,
    pub(super) policy: Policy,
    pub(super) right: Right,
}

/// What entitles to a load.
#[derive(Debug)]
pub(super) enum Right {
    /// A lease of the store.
    Lease {
        token: Token,
        /// They came with the lease.
        tags: Vec<Tag>,
        /// How long there is a stale value to serve.
        stale_left: Duration,
    },
    /// The store is down: a place among the few who may load without it.
    Degraded,
}

/// Runs a load to its end, settles its lease and tells all who wait.
#[tracing::instrument(level = "debug", name = "cache.load", skip_all, fields(key = %job.key))]
pub(super) async fn run<T: Cached>(
    shared: Arc<Shared>,
    job: Job,
    load: impl Load<T>,
    flight: Flight<T>,
    stopped: CancellationToken,
) {
    let begun = shared.clock.now();
    let mut held = Held { shared: &shared, job: &job, settled: false };
    let after = job.policy.hard_timeout;
    // Dropped in here, too: a loader may also panic when it is dropped.
    let work = async {
        let work = tokio::time::timeout(after, work(&shared, &job.right, load));
        stopped.run_until_cancelled(work).await
    };
    let result = match AssertUnwindSafe(work).catch_unwind().await {
        Err(_) => Err(Error::LoadPanicked),
        Ok(None) => Err(Error::Stopped),
        Ok(Some(Err(_))) => Err(Error::LoadTimeout { after }),
        Ok(Some(Ok(result))) => result,
    };
    let (loaded, value) = match result {
        Ok((loaded, value)) => (Ok(loaded), value),
        Err(error) => (Err(error), None),
    };
    let took = shared.clock.now().saturating_since(begun);
    shared.meters.loaded(&loaded, took);
    if let Right::Lease { token, tags, stale_left } = &job.right {
        let left = stale_left.saturating_sub(took);
        let outcome = match (&loaded, value) {
            (_, Some(value)) => fill(value, &job.policy, tags.clone()),
            (Ok(_) | Err(Error::Stopped), None) => Outcome::GiveBack,
            // As long as there is something to serve, a source that fails is spared.
            (Err(_), None) if !left.is_zero() => Outcome::Keep(shared.options.retry_delay.min(left)),
            (Err(_), None) => Outcome::GiveBack,
        };
        let settled = settle(&shared, &job.key, *token, outcome).await;
        held.settled = true;
        flight.land(loaded);
        if let Err(error) = settled {
            give_back_later(&shared, &job.key, *token, &job.policy, error, &stopped).await;
        }
    } else {
        flight.land(loaded);
    }
}

/// A lease, whose task may be dropped by its runtime before it is settled.
struct Held<'a> {
    shared: &'a Shared,
    job: &'a Job,
    settled: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // A store that is not near lets it run out.
        if let (false, Right::Lease { token, .. }, Ok(key)) =
            (self.settled, &self.job.right, Key::new(&self.job.key))
        {
            let _answer = self.shared.store.settle(key, *token, Outcome::GiveBack).now();
        }
    }
}

/// The loaded value, and what is to be stored of it.
async fn work<T: Cached>(
    shared: &Shared,
    right: &Right,
    load: impl Load<T>,
) -> Result<(Option<T>, Option<Arc<Value>>), Error> {
    let (_place, stores) = match right {
        Right::Lease { .. } => (None, true),
        Right::Degraded => (Some(shared.bulkhead.acquire().await.expect("it is never closed")), false),
    };
    let begun = shared.clock.now();
    let loaded = load.await?;
    let cost = shared.clock.now().saturating_since(begun);
    let value = match &loaded {
        _ if !stores => None,
        None => Some(Value::absent(cost)),
        Some(loaded) => match shared.encode(loaded, cost) {
            Ok(value) => Some(value),
            Err(Error::TooLarge { size, max }) => {
                tracing::warn!(size, max, "loaded value is too large to cache");
                shared.meters.fills_refused.increment(1);
                None
            }
            Err(error) => return Err(error),
        },
    };
    Ok((loaded, value.map(Arc::new)))
}

fn fill(value: Arc<Value>, policy: &Policy, tags: Vec<Tag>) -> Outcome {
    let fresh_for = policy.lifetime(value.is_absent());
    let stale_for = if value.is_absent() { Duration::ZERO } else { policy.staleness() };
    Outcome::Fill(Entry { value, fresh_for, stale_for, tags })
}

/// Ends the lease. A lost answer is asked for again, once: a second copy changes nothing.
async fn settle(shared: &Shared, key: &str, token: Token, outcome: Outcome) -> Result<(), StoreError> {
    let key = Key::new(key).expect("it was one before");
    let settle = || shared.store.settle(key, token, outcome.clone()).within(shared.options.op_timeout);
    let mut answer = settle().await;
    if matches!(answer, Err(StoreError::Unknown { .. })) {
        // Refused may now mean that the first copy arrived: it says nothing.
        answer = settle().await.map(|_| Settled::Done);
    }
    if answer? == Settled::Refused && matches!(outcome, Outcome::Fill(_)) {
        shared.meters.fills_refused.increment(1);
    }
    Ok(())
}

/// Gives back a lease that may have been given, now or when the store is back.
pub(super) async fn give_back(
    shared: &Shared,
    key: &str,
    token: Token,
    policy: &Policy,
    stopped: &CancellationToken,
) {
    if let Err(error) = settle(shared, key, token, Outcome::GiveBack).await {
        give_back_later(shared, key, token, policy, error, stopped).await;
    }
}

/// Gives back the lease of a load that has ended, if the store is there.
pub(super) async fn end(shared: &Shared, key: Key<'_>, token: Token) {
    let given_back = shared.store.settle(key, token, Outcome::GiveBack);
    if let Err(error) = given_back.within(shared.options.op_timeout).await {
        tracing::debug!(%error, "a lease that came back was not given back");
    }
}

/// A store that was only cut off still has the lease when it is back, and all who ask would wait for it: it is given
/// back then, unless it has run out by itself.
async fn give_back_later(
    shared: &Shared,
    key: &str,
    token: Token,
    policy: &Policy,
    mut error: StoreError,
    stopped: &CancellationToken,
) {
    let (begun, lease) = (Instant::now(), shared.lease(policy));
    let pauses = Backoff::new(PAUSE, MAX_PAUSE);
    let mut failures = 1;
    while !matches!(error, StoreError::Rejected { .. }) && begun.elapsed() < lease {
        if stopped.run_until_cancelled(sleep(pauses.delay(failures))).await.is_none() {
            break;
        }
        match settle(shared, key, token, Outcome::GiveBack).await {
            Ok(()) => return,
            Err(again) => error = again,
        }
        failures = failures.saturating_add(1);
    }
    tracing::debug!(%error, "a fill lease was left to run out");
}
