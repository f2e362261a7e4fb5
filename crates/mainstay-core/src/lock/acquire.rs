//! How a request becomes a grant: trying, coming back, or standing in line.

use std::time::Duration;

use tracing::Instrument;

use super::attempt::{Answer, Attempt};
use super::terms::{Checked, Patience};
use super::{Error, Inner};
use crate::backoff::Backoff;
use crate::key::Key;
use crate::store::StoreError;
use crate::time::Moment;

/// How often one try asks a store that does not answer.
const ASKS: u32 = 3;
/// Pauses between questions to a store that does not answer.
const SILENCE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// A retry never waits longer than this, or than its own first delay.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Who could not subscribe now may be able to soon, and asks again after this time.
const DEAF: Duration = Duration::from_secs(1);
/// A holder that ends now is not asked about more often than this.
const MIN_PAUSE: Duration = Duration::from_millis(1);

/// Ends well only with a grant in the attempt.
pub(super) async fn acquire<'a>(
    inner: &'a Inner,
    key: Key<'a>,
    terms: Checked,
) -> Result<Attempt<'a>, Error> {
    // Counted before it looks: a keeper that is closed later waits for it.
    let mut attempt = Attempt::new(&inner.keeper, key, terms);
    if inner.keeper.is_closed() {
        return Err(Error::Stopped);
    }
    match terms.patience {
        Patience::Try | Patience::Wait(Duration::ZERO) => once(inner, key, &mut attempt).await?,
        Patience::Retry { attempts, delay } => retry(inner, key, &mut attempt, attempts, delay).await?,
        Patience::Wait(limit) => wait(inner, key, &mut attempt, limit).await?,
    }
    Ok(attempt)
}

/// One try. Those who stand in line come first.
async fn once(inner: &Inner, key: Key<'_>, attempt: &mut Attempt<'_>) -> Result<(), Error> {
    match inner.queues.held_until(key.name()) {
        Some(Ok(held_until)) => return Err(contended(inner, held_until)),
        Some(Err(down)) => return Err(attempt.failed(down)),
        None => {}
    }
    let backoff = Backoff::new(SILENCE.0, SILENCE.1);
    for asked in 1.. {
        match attempt.ask(Duration::MAX).await {
            Ok(Answer::Granted) => break,
            Ok(Answer::Held(until)) => return Err(contended(inner, until)),
            Err(_) if attempt.in_doubt() && asked < ASKS => {
                tokio::time::sleep(backoff.delay(asked)).await;
            }
            Err(error) => return Err(attempt.failed(error)),
        }
    }
    Ok(())
}

async fn retry(
    inner: &Inner,
    key: Key<'_>,
    attempt: &mut Attempt<'_>,
    attempts: u32,
    delay: Duration,
) -> Result<(), Error> {
    let backoff = Backoff::new(delay, MAX_BACKOFF);
    let mut tried = 0;
    loop {
        match once(inner, key, attempt).await {
            Err(Error::Contended { .. }) if tried < attempts => {
                tokio::select! {
                    () = tokio::time::sleep(backoff.delay(tried)) => tried += 1,
                    () = inner.closing.cancelled() => return Err(Error::Stopped),
                }
            }
            ended => return ended,
        }
    }
}

/// Asks once, unless others stand in line; then stands in line.
async fn wait(inner: &Inner, key: Key<'_>, attempt: &mut Attempt<'_>, limit: Duration) -> Result<(), Error> {
    let (held_until, doubt) = match inner.queues.held_until(key.name()) {
        Some(Ok(held_until)) => (held_until, None),
        Some(Err(down)) => return Err(attempt.failed(down)),
        None => match attempt.ask(limit).await {
            Ok(Answer::Granted) => return Ok(()),
            Ok(Answer::Held(until)) => (until, None),
            Err(error) if attempt.in_doubt() => (Moment::default(), Some(error)),
            Err(error) => return Err(attempt.failed(error)),
        },
    };
    let left = limit.saturating_sub(inner.keeper.clock.now().saturating_since(attempt.begun()));
    let span = tracing::debug_span!("lock wait", key = key.name());
    // Boxed: the way without contention stays small.
    Box::pin(stand_in_line(inner, key, attempt, left, held_until, doubt)).instrument(span).await
}

async fn stand_in_line(
    inner: &Inner,
    key: Key<'_>,
    attempt: &mut Attempt<'_>,
    limit: Duration,
    mut held_until: Moment,
    mut doubt: Option<StoreError>,
) -> Result<(), Error> {
    let in_line = async {
        let place =
            inner.queues.enter(key.name(), inner.keeper.clock.now(), held_until, &inner.keeper.meters);
        place.turn().await.map_err(|down| attempt.failed(down))?;
        let backoff = Backoff::new(SILENCE.0, SILENCE.1);
        let mut silences = 0;
        loop {
            // Subscribed before asking, so that a release in between is heard. Where subscriptions are refused the
            // wait ends with the holder's ttl.
            let changed = inner.keeper.store.changed(key).within(inner.keeper.op_timeout).await;
            doubt = Some(StoreError::unknown("no answer before the wait was over"));
            match attempt.ask(Duration::MAX).await {
                Ok(Answer::Granted) => return Ok(()),
                Ok(Answer::Held(until)) => {
                    (doubt, silences, held_until) = (None, 0, until);
                    place.refused(until);
                    let pause = until.saturating_since(inner.keeper.clock.now()).max(MIN_PAUSE);
                    match changed {
                        Ok(changed) => drop(tokio::time::timeout(pause, changed).await),
                        Err(StoreError::Rejected { .. }) => tokio::time::sleep(pause).await,
                        Err(_) => tokio::time::sleep(pause.min(DEAF)).await,
                    }
                }
                Err(error) if attempt.in_doubt() => {
                    if let StoreError::Unavailable { .. } = error {
                        place.down(error.clone());
                    }
                    doubt = Some(error);
                    tokio::time::sleep(backoff.delay(silences)).await;
                    silences += 1;
                }
                Err(error) => return Err(attempt.failed(error)),
            }
        }
    };
    tokio::select! {
        biased;
        result = in_line => result,
        () = inner.closing.cancelled() => Err(Error::Stopped),
        () = tokio::time::sleep(limit) => Err(match doubt {
            Some(error) => Error::Unknown(error),
            None => contended(inner, held_until),
        }),
    }
}

fn contended(inner: &Inner, held_until: Moment) -> Error {
    let left = held_until.saturating_since(inner.keeper.clock.now());
    Error::Contended { retry_after: (!left.is_zero()).then_some(left) }
}
