//! One subscription at work: fetches as much as it has room for, and has each event handled.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, field};

use super::meters::{GroupMeters, Handled};
use super::outcome::shortened;
use super::store::{Delivery, Fetch, Opening, Queue, Receipt, Standing, Start, Store, Verdict};
use super::{Envelope, EventId, Outcome};
use crate::backoff::Backoff;
use crate::store::{Reply, StoreError};
use crate::task::panic_message;
use crate::telemetry::trace_context::TraceContext;

/// Longest wait for an event in one question to the store.
pub(super) const FETCH_WAIT: Duration = Duration::from_secs(2);

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
    pub(super) opening: Opening,
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) handler: Handler,
    pub(super) meters: GroupMeters,
    /// One permit for each event being handled.
    pub(super) permits: Arc<Semaphore>,
    /// How many events were lost with its own queue.
    pub(super) lost: AtomicUsize,
}

impl Consumer {
    /// Until `closing`, begins; then lets handlers end; when `cancelled`, ends them.
    pub(super) async fn run(self: Arc<Self>, closing: CancellationToken, cancelled: CancellationToken) {
        let handlers = TaskTracker::new();
        // Also when this task itself is dropped: nobody else ends the handlers then.
        let stopped = cancelled.child_token().drop_guard();
        cancelled.run_until_cancelled(self.dispatch(&handlers, stopped.token(), &closing)).await;
        cancelled.run_until_cancelled(self.idle()).await;
        drop(stopped);
        // They have nothing left to do but to give their event back.
        handlers.close();
        let patience = self.settings.op_timeout.saturating_mul(2);
        if tokio::time::timeout(patience, handlers.wait()).await.is_err() {
            tracing::warn!(queue = %self.queue, handlers = handlers.len(), "event handlers do not end");
            // Nobody takes anything out of the queue any more.
            self.leave().await;
            // Whoever waits for this task is to hear of them.
            handlers.wait().await;
        }
        self.leave().await;
    }

    /// Removes the queue if it has no use after this consumer: full, it would hold up every publisher.
    pub(super) async fn leave(&self) {
        if self.queue.instance.is_some() {
            let retired = self.store.retire(&self.queue).within(self.settings.op_timeout).await;
            self.lost.fetch_add(retired.unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Waits until no event is being handled.
    pub(super) async fn idle(&self) {
        let all = u32::try_from(self.settings.concurrency).expect("the options were checked");
        let _all = self.permits.acquire_many(all).await;
    }

    async fn dispatch(
        self: &Arc<Self>,
        handlers: &TaskTracker,
        stopped: &CancellationToken,
        closing: &CancellationToken,
    ) {
        let mut outage = Outage::default();
        let mut last = None;
        while let Some(mut permits) = closing.run_until_cancelled(self.credits()).await {
            let Some(fetched) = self.fetch_until(closing, permits.num_permits()).await else { return };
            match fetched {
                Ok(deliveries) => {
                    outage.over(&self.queue);
                    let new = deliveries.iter().rev().find(|delivery| delivery.receipt.attempt == 1);
                    last = new.map(|delivery| delivery.event.id).or(last);
                    for delivery in deliveries {
                        // A store that gives more than it was asked for gets the rest back by visibility.
                        let Some(permit) = permits.split(1) else { break };
                        let this = Arc::clone(self);
                        let stopped = stopped.clone();
                        handlers.spawn(async move {
                            this.process(delivery, &stopped).await;
                            drop(permit);
                        });
                    }
                }
                Err(error) => {
                    drop(permits);
                    let pause = outage.again(&self.queue, &error);
                    let reopened = async {
                        tokio::time::sleep(pause).await;
                        self.reopen(last).await;
                    };
                    closing.run_until_cancelled(reopened).await;
                }
            }
        }
    }

    /// A store that was away may have forgotten the queue: then it goes on behind the latest event it got.
    async fn reopen(&self, last: Option<EventId>) {
        let from = last.map_or(self.opening.from, Start::After);
        let opening = Opening { from, ..self.opening };
        let _tried = self.store.open(&self.queue, opening).within(self.settings.op_timeout).await;
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

    /// Fetches; when it closes meanwhile, what a server has delivered already is waited for, a little, rather than left
    /// to the visibility.
    async fn fetch_until(
        &self,
        closing: &CancellationToken,
        credits: usize,
    ) -> Option<Result<Vec<Delivery>, StoreError>> {
        let mut fetch = pin!(self.fetch(credits));
        tokio::select! {
            biased;
            fetched = &mut fetch => return Some(fetched),
            () = closing.cancelled() => {}
        }
        let patience = if self.store.is_volatile() { Duration::ZERO } else { self.settings.op_timeout / 2 };
        tokio::time::timeout(patience, fetch).await.ok()
    }

    async fn fetch(&self, credits: usize) -> Result<Vec<Delivery>, StoreError> {
        let visibility = self.settings.visibility;
        let want = Fetch { consumer: &self.name, credits, visibility, wait: FETCH_WAIT };
        self.store.fetch(&self.queue, want).within(FETCH_WAIT.saturating_add(self.settings.op_timeout)).await
    }

    /// From delivery to verdict.
    ///
    /// A handler that ends at once, and a store that answers at once, cost no timer: what waits is boxed, so that
    /// the task of an event stays small.
    async fn process(&self, delivery: Delivery, stopped: &CancellationToken) {
        let Delivery { receipt, event } = delivery;
        let meters = self.meters.of(&event.kind);
        if receipt.attempt > 1 {
            self.meters.redelivered.increment(1);
        }
        let caller = event.trace_parent.as_deref().and_then(TraceContext::parse);
        let trace = caller.as_ref().map(TraceContext::child);
        let span = span(&event, receipt.attempt, caller.as_ref(), trace.as_ref());
        let work = async {
            let verdict = self.decide(&event, receipt, stopped, &meters).await;
            let first = match self.store.settle(&self.queue, receipt, verdict.clone()).now() {
                Ok(Ok(Standing::Held)) => return meters.ended(&verdict, receipt.attempt),
                Ok(answer) => Reply::ready(answer),
                Err(pending) => pending,
            };
            if Box::pin(self.insist(first, receipt, &verdict, stopped)).await {
                meters.ended(&verdict, receipt.attempt);
            }
        };
        let work = work.instrument(span);
        match trace {
            Some(trace) => trace.scope(work).await,
            None => work.await,
        }
    }

    async fn decide(
        &self,
        event: &Envelope,
        receipt: Receipt,
        stopped: &CancellationToken,
        meters: &Handled,
    ) -> Verdict {
        let attempt = receipt.attempt;
        if attempt > self.settings.max_attempts {
            let cause = format!("no end in {} deliveries: its consumers stopped or died", attempt - 1);
            return Verdict::Dead { cause };
        }
        let started = Instant::now();
        let handled = AssertUnwindSafe(self.handle(event, receipt, stopped)).catch_unwind().await;
        meters.took(started.elapsed());
        handled.unwrap_or_else(|panic| {
            self.again(attempt, None, &format!("panicked: {}", panic_message(&*panic)))
        })
    }

    /// Runs the handler. Panics if it does, be it while it is dropped.
    async fn handle(&self, event: &Envelope, receipt: Receipt, stopped: &CancellationToken) -> Verdict {
        let attempt = receipt.attempt;
        let mut handling = pin!(async { Ok((self.handler)(event, attempt)?.await) });
        let ended = match poll_fn(|context| Poll::Ready(handling.as_mut().poll(context))).await {
            Poll::Ready(ended) => Some(Ok(ended)),
            Poll::Pending => Box::pin(self.watch(handling, receipt, stopped)).await,
        };
        match ended {
            Some(Ok(Ok(outcome))) => match outcome {
                Outcome::Done => Verdict::Done,
                Outcome::Retry { after } => self.again(attempt, after, "asked for another attempt"),
                Outcome::Failed { reason } => self.again(attempt, None, &reason),
                Outcome::Reject { reason } => Verdict::Dead { cause: shortened(reason) },
            },
            Some(Ok(Err(unreadable))) => Verdict::Dead { cause: unreadable },
            Some(Err(_)) => {
                let cause = format!("no end within {:?}", self.settings.handler_timeout);
                self.again(attempt, None, &cause)
            }
            None => Verdict::Retry { after: Duration::ZERO }, // given back
        }
    }

    /// Awaits a handler within its time, with signs of life; `None` if it was stopped.
    async fn watch<T>(
        &self,
        handling: impl Future<Output = T>,
        receipt: Receipt,
        stopped: &CancellationToken,
    ) -> Option<Result<T, Elapsed>> {
        let handling = tokio::time::timeout(self.settings.handler_timeout, handling);
        tokio::select! {
            biased;
            ended = handling => Some(ended),
            () = stopped.cancelled() => None,
            never = self.heartbeat(receipt) => match never {},
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
        let mut pause = visibility / 3;
        loop {
            tokio::time::sleep(pause).await;
            pause = visibility / 3;
            let extended = self.store.extend(&self.queue, receipt, visibility);
            match extended.within(self.settings.op_timeout).await {
                Ok(Standing::Held) => {}
                Ok(Standing::Gone) => {
                    tracing::warn!("event was delivered again while it is being handled");
                    return std::future::pending().await;
                }
                Err(error) => {
                    tracing::debug!(%error, "heartbeat failed");
                    // Soon: the store may be back just in time.
                    pause = visibility / 15;
                }
            }
        }
    }

    /// Tells the store again, as long as the event cannot have gone to somebody else. Says whether it was told.
    async fn insist(
        &self,
        first: Reply<'_, Result<Standing, StoreError>>,
        receipt: Receipt,
        verdict: &Verdict,
        stopped: &CancellationToken,
    ) -> bool {
        let started = Instant::now();
        let mut outage = Outage::default();
        let mut answer = first.within(self.settings.op_timeout).await;
        loop {
            match answer {
                Ok(Standing::Held) => return true,
                // After an answer was lost: the first question did it.
                Ok(Standing::Gone) if outage.failures > 0 => return true,
                Ok(Standing::Gone) => {
                    tracing::debug!("event was delivered again before it was settled");
                    return false;
                }
                Err(error @ StoreError::Rejected { .. }) => {
                    tracing::debug!(%error, "what became of an event was refused by the store");
                    return false;
                }
                Err(error) => {
                    let pause = outage.again(&self.queue, &error);
                    let too_late = started.elapsed() + pause >= self.settings.visibility;
                    if too_late || stopped.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        tracing::warn!("what became of an event was not told: it is delivered again");
                        return false;
                    }
                }
            }
            let again = self.store.settle(&self.queue, receipt, verdict.clone());
            answer = again.within(self.settings.op_timeout).await;
        }
    }
}

/// The span a handler runs in: a child of the span that published, where that is known.
fn span(event: &Envelope, attempt: u32, caller: Option<&TraceContext>, trace: Option<&TraceContext>) -> Span {
    tracing::info_span!(
        "event",
        event_id = %event.id,
        event_type = event.kind.as_str(),
        attempt,
        trace_id = trace.map(TraceContext::trace_id),
        otel.traceparent = trace.map(field::display),
        otel.parent = caller.map(field::display),
        otel.kind = "consumer",
        otel.name = %format_args!("{} process", event.kind),
    )
}

/// How long to wait before a store that has failed so often is asked again.
pub(super) fn again(failures: u32) -> Duration {
    Backoff::new(Duration::from_millis(250), Duration::from_secs(5)).delay(failures)
}

/// A store that does not answer: asked ever less often, and logged once.
#[derive(Debug, Default)]
pub(super) struct Outage {
    failures: u32,
}

impl Outage {
    pub(super) fn again(&mut self, queue: &Queue, error: &StoreError) -> Duration {
        if self.failures == 0 {
            tracing::warn!(%queue, %error, "event store does not answer");
        }
        let pause = again(self.failures);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Says whether there was one.
    pub(super) fn over(&mut self, queue: &Queue) -> bool {
        let was = std::mem::take(&mut self.failures) > 0;
        if was {
            tracing::info!(%queue, "event store answers again");
        }
        was
    }
}
