//! One subscription at work: fetches as much as it has room for, and has each event handled.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field};

use super::meters::GroupMeters;
use super::outcome::shortened;
use super::store::{Delivery, Fetch, Queue, Receipt, Standing, Store, Verdict};
use super::{Envelope, Outcome};
use crate::backoff::Backoff;
use crate::store::StoreError;
use crate::task::{TaskGroup, panic_message};
use crate::telemetry::trace_context::TraceContext;

/// Longest wait for an event in one question to the store.
const FETCH_WAIT: Duration = Duration::from_secs(2);

type Handling = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Reads an event and begins to handle it; an error is an event that cannot be read.
pub(super) type Handler = Box<dyn Fn(&Envelope, u32) -> Result<Handling, String> + Send + Sync>;

/// How a subscription handles events.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) concurrency: usize,
    pub(super) backoff: Backoff,
    pub(super) max_attempts: u32,
    pub(super) handler_timeout: Duration,
    pub(super) visibility: Duration,
    pub(super) op_timeout: Duration,
}

/// What the tasks of a subscription need. It does not own them, so that the tasks of a handle that was dropped end.
pub(super) struct Consumer {
    pub(super) store: Arc<dyn Store>,
    pub(super) queue: Queue,
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) handler: Handler,
    pub(super) meters: GroupMeters,
    /// One permit for each event being handled.
    pub(super) permits: Arc<Semaphore>,
}

impl Consumer {
    /// Until `closing`, begins; then lets handlers end; when `cancelled`, ends them.
    pub(super) async fn run(self: Arc<Self>, closing: CancellationToken, cancelled: CancellationToken) {
        let handlers = TaskGroup::child_of(&cancelled);
        closing.run_until_cancelled(self.dispatch(&handlers)).await;
        cancelled.run_until_cancelled(self.idle()).await;
        // They have nothing left to do but to give their event back.
        if let Err(overrun) = handlers.stop(self.settings.op_timeout.saturating_mul(2)).await {
            tracing::warn!(queue = %self.queue, handlers = overrun.tasks.len(), "event handlers do not end");
        }
    }

    /// Waits until no event is being handled.
    pub(super) async fn idle(&self) {
        let all = u32::try_from(self.settings.concurrency).expect("the options were checked");
        let _all = self.permits.acquire_many(all).await;
    }

    async fn dispatch(self: &Arc<Self>, handlers: &TaskGroup) -> Infallible {
        let mut outage = Outage::default();
        loop {
            let mut permits = self.credits().await;
            match self.fetch(permits.num_permits()).await {
                Ok(deliveries) => {
                    outage.over(&self.queue);
                    for delivery in deliveries {
                        // A store that gives more than it was asked for gets the rest back by visibility.
                        let Some(permit) = permits.split(1) else { break };
                        let this = Arc::clone(self);
                        let cancelled = handlers.token();
                        handlers.spawn("event", async move {
                            this.process(delivery, &cancelled).await;
                            drop(permit);
                        });
                    }
                }
                Err(error) => {
                    drop(permits);
                    tokio::time::sleep(outage.again(&self.queue, &error)).await;
                    // A store that was away may have forgotten the queue.
                    let _tried = self.store.open(&self.queue).within(self.settings.op_timeout).await;
                }
            }
        }
    }

    /// At least one permit, and all others that are free. Only the dispatcher takes any.
    async fn credits(&self) -> OwnedSemaphorePermit {
        let mut permits =
            Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let more = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        if let Ok(more) = Arc::clone(&self.permits).try_acquire_many_owned(more) {
            permits.merge(more);
        }
        permits
    }

    async fn fetch(&self, credits: usize) -> Result<Vec<Delivery>, StoreError> {
        let visibility = self.settings.visibility;
        let want = Fetch { consumer: &self.name, credits, visibility, wait: FETCH_WAIT };
        self.store.fetch(&self.queue, want).within(FETCH_WAIT.saturating_add(self.settings.op_timeout)).await
    }

    /// From delivery to verdict.
    async fn process(&self, delivery: Delivery, cancelled: &CancellationToken) {
        let Delivery { receipt, event } = delivery;
        if receipt.attempt > 1 {
            self.meters.redelivered.increment(1);
        }
        let span = span(&event, receipt.attempt);
        async {
            let verdict = cancelled.run_until_cancelled(self.decide(&event, receipt)).await;
            let given_back = Verdict::Retry { after: Duration::ZERO };
            self.settle(&event, receipt, verdict.unwrap_or(given_back), cancelled).await;
        }
        .instrument(span)
        .await;
    }

    async fn decide(&self, event: &Envelope, receipt: Receipt) -> Verdict {
        let attempt = receipt.attempt;
        if attempt > self.settings.max_attempts {
            let cause = format!("no end in {} deliveries: its consumers stopped or died", attempt - 1);
            return Verdict::Dead { cause };
        }
        let started = Instant::now();
        let handling = AssertUnwindSafe(async {
            match (self.handler)(event, attempt) {
                Ok(handling) => Ok(handling.await),
                Err(unreadable) => Err(unreadable),
            }
        });
        let handling = tokio::time::timeout(self.settings.handler_timeout, handling.catch_unwind());
        let ended = tokio::select! {
            biased;
            ended = handling => ended,
            never = self.heartbeat(receipt) => match never {},
        };
        self.meters.of(&event.kind).took(started.elapsed());
        match ended {
            Ok(Ok(Ok(Outcome::Done))) => Verdict::Done,
            Ok(Ok(Ok(Outcome::Retry { after }))) => self.again(attempt, after, "asked for another attempt"),
            Ok(Ok(Ok(Outcome::Failed { reason }))) => self.again(attempt, None, &reason),
            Ok(Ok(Ok(Outcome::Reject { reason }))) => Verdict::Dead { cause: shortened(reason) },
            Ok(Ok(Err(unreadable))) => Verdict::Dead { cause: unreadable },
            Ok(Err(panic)) => self.again(attempt, None, &format!("panicked: {}", panic_message(&*panic))),
            Err(_) => {
                let cause = format!("no end within {:?}", self.settings.handler_timeout);
                self.again(attempt, None, &cause)
            }
        }
    }

    fn again(&self, attempt: u32, after: Option<Duration>, cause: &str) -> Verdict {
        if attempt >= self.settings.max_attempts {
            return Verdict::Dead { cause: shortened(cause.to_owned()) };
        }
        tracing::debug!(cause, "event is delivered again");
        let after = after.unwrap_or_else(|| self.settings.backoff.delay(attempt - 1));
        Verdict::Retry { after }
    }

    /// Keeps the event from being delivered to others while it is worked on.
    async fn heartbeat(&self, receipt: Receipt) -> Infallible {
        let visibility = self.settings.visibility;
        loop {
            tokio::time::sleep(visibility / 3).await;
            let extended = self.store.extend(&self.queue, receipt, visibility);
            match extended.within(self.settings.op_timeout).await {
                Ok(Standing::Held) => {}
                Ok(Standing::Gone) => {
                    tracing::warn!("event was delivered again while it is being handled");
                    return std::future::pending().await;
                }
                Err(error) => tracing::debug!(%error, "heartbeat failed"),
            }
        }
    }

    /// Tells the store, as long as the event cannot have gone to somebody else.
    async fn settle(
        &self,
        event: &Envelope,
        receipt: Receipt,
        verdict: Verdict,
        cancelled: &CancellationToken,
    ) {
        let end = Instant::now();
        let mut outage = Outage::default();
        let standing = loop {
            let answer = self.store.settle(&self.queue, receipt, verdict.clone());
            match answer.within(self.settings.op_timeout).await {
                Ok(standing) => break standing,
                Err(error @ StoreError::Rejected { .. }) => {
                    return tracing::warn!(%error, "what became of an event was refused by the store");
                }
                Err(error) => {
                    let pause = outage.again(&self.queue, &error);
                    let too_late = end.elapsed() + pause >= self.settings.visibility;
                    if too_late || cancelled.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return tracing::warn!("what became of an event was not told: it is delivered again");
                    }
                }
            }
        };
        // Gone after an answer was lost: the first question did it.
        if standing == Standing::Gone && outage.failures == 0 {
            return tracing::debug!("event was delivered again before it was settled");
        }
        let meters = self.meters.of(&event.kind);
        match verdict {
            Verdict::Done => meters.done.increment(1),
            Verdict::Retry { .. } => meters.retried.increment(1),
            Verdict::Dead { cause } => {
                meters.dead.increment(1);
                tracing::warn!(cause, attempts = receipt.attempt, "event went to the dead letters");
            }
        }
    }
}

/// The span a handler runs in: a child of the span that published, where that is known.
fn span(event: &Envelope, attempt: u32) -> Span {
    let caller = event.trace_parent.as_deref().and_then(TraceContext::parse);
    let trace = caller.as_ref().map(TraceContext::child);
    tracing::info_span!(
        "event",
        event_id = %event.id,
        event_type = event.kind.as_str(),
        attempt,
        trace_id = trace.as_ref().map(TraceContext::trace_id),
        otel.traceparent = trace.as_ref().map(field::display),
        otel.parent = caller.as_ref().map(field::display),
        otel.kind = "consumer",
        otel.name = %format_args!("{} process", event.kind),
    )
}

/// A store that does not answer: asked ever less often, and logged once.
#[derive(Debug, Default)]
struct Outage {
    failures: u32,
}

impl Outage {
    fn again(&mut self, queue: &Queue, error: &StoreError) -> Duration {
        if self.failures == 0 {
            tracing::warn!(%queue, %error, "event store does not answer");
        }
        let pause = Backoff::new(Duration::from_millis(250), Duration::from_secs(5)).delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    fn over(&mut self, queue: &Queue) {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!(%queue, "event store answers again");
        }
    }
}
