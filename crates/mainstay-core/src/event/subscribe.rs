//! Subscribing: who handles which events, and how.

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::consumer::{Consumer, Handler, Settings};
use super::envelope::codec_of;
use super::outcome::{IntoOutcome, shortened, with_causes};
use super::store::{Opening, Queue, Start};
use super::{Envelope, Error, Event, Events, Pattern};
use crate::backoff::Backoff;
use crate::key::Key;
use crate::store::StoreError;
use crate::task::{Overrun, TaskGroup};

/// Most events one subscription may handle at once.
const MAX_CONCURRENCY: usize = 65_536;

/// A subscription about to begin: [`Events::on`]. Nothing happens before [`Subscribe::handle`].
#[derive(Debug, Clone)]
#[must_use = "nothing is subscribed before `handle`"]
pub struct Subscribe<'a> {
    events: &'a Events,
    pattern: &'a str,
    group: Arc<str>,
    broadcast: bool,
    opening: Opening,
    patient: bool,
    schemas: RangeInclusive<u32>,
    settings: Settings,
}

impl<'a> Subscribe<'a> {
    pub(super) fn new(events: &'a Events, pattern: &'a str) -> Self {
        let options = events.options();
        let settings = Settings {
            concurrency: options.concurrency,
            backoff: options.backoff,
            max_attempts: options.max_attempts,
            handler_timeout: options.handler_timeout,
            visibility: options.visibility,
            op_timeout: options.op_timeout,
        };
        Self {
            events,
            pattern,
            group: Arc::clone(&options.source),
            broadcast: false,
            opening: Opening::NOW,
            patient: false,
            schemas: 1..=u32::MAX,
            settings,
        }
    }

    /// Who handles each event once: all subscriptions with this group and pattern share. Default: the service.
    pub fn group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.group = group.into();
        self
    }

    /// This subscription gets every event for itself, from now until it stops, whoever else gets it.
    pub const fn broadcast(mut self) -> Self {
        self.broadcast = true;
        self
    }

    /// Where a group that is new begins, or a broadcast: with what is retained from there on. Default
    /// [`Start::Now`]. A group that exists goes on where it is; [`Events::rewind`] takes it back.
    pub const fn from(mut self, start: Start) -> Self {
        self.opening.from = start;
        self
    }

    /// Events of one subject are handled one after the other, in the order they were published: one that fails keeps
    /// those behind it waiting until it is done or dead. All subscriptions of a group must agree on it.
    pub const fn ordered(mut self) -> Self {
        self.opening.ordered = true;
        self
    }

    /// The versions of the data's schema that the handler can read, such as `1..=2`. An event of another goes to the
    /// dead letters, from where a later release can redrive it. Default: all, as far as they can be decoded.
    pub fn schemas(mut self, versions: RangeInclusive<u32>) -> Self {
        self.schemas = versions;
        self
    }

    /// Begins also while the store is away: the queue is opened when it is back, and if it is new it takes what was
    /// published since now. For a service that is to start whatever is down.
    pub const fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    /// Most events handled at once. Default [`Options::concurrency`](super::Options::concurrency).
    pub const fn concurrency(mut self, events: usize) -> Self {
        self.settings.concurrency = events;
        self
    }

    /// How often an event is delivered before it goes to the dead letters, and how long to wait in between.
    /// Default [`Options::max_attempts`](super::Options::max_attempts) and [`Options::backoff`](super::Options::backoff).
    pub const fn retries(mut self, backoff: Backoff, max_attempts: u32) -> Self {
        self.settings.backoff = backoff;
        self.settings.max_attempts = max_attempts;
        self
    }

    /// How long a handler may take. Default [`Options::handler_timeout`](super::Options::handler_timeout).
    pub const fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handler_timeout = timeout;
        self
    }

    /// Begins: `handler` gets every event published after this has returned `Ok`, and those its group had
    /// already.
    ///
    /// The handler runs as often as the concurrency allows at once. It is dropped at an await when it takes too
    /// long, or when the subscription is stopped and does not wait any longer; the event is then delivered again.
    /// If it holds a clone of the [`Events`], only [`Events::stop`] ends it, not dropping the handles.
    ///
    /// # Errors
    /// [`Error::Kind`], [`Error::Group`], [`Error::Option`]: what is wrong. [`Error::Unavailable`],
    /// [`Error::Unknown`]: there is no subscription; try again, or be [patient](Self::patient). [`Error::Stopped`].
    ///
    /// # Panics
    /// Outside a tokio runtime, as every spawn does.
    pub async fn handle<T, H, Fut, O>(self, handler: H) -> Result<Subscription, Error>
    where
        T: DeserializeOwned + Send + 'static,
        H: Fn(Event<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = O> + Send + 'static,
        O: IntoOutcome,
    {
        let schemas = self.schemas.clone();
        let handler: Handler = Box::new(move |envelope, attempt| {
            if !schemas.contains(&envelope.schema) {
                let (first, last) = schemas.clone().into_inner();
                return Err(format!("schema {} is not one of {first} to {last}", envelope.schema));
            }
            let handling = handler(read(envelope, attempt)?);
            Ok(Box::pin(async move { handling.await.into_outcome() }))
        });
        self.begin(handler).await
    }

    async fn begin(self, handler: Handler) -> Result<Subscription, Error> {
        let _pass = self.events.enter()?;
        let pattern = Pattern::new(self.pattern)?;
        Key::new(&self.group).map_err(Error::Group)?;
        self.check()?;
        let name = self.events.next_consumer();
        let queue = if self.broadcast {
            // A restarted instance must not take over what its last run left: broadcast begins anew.
            let instance = format!("{name}-{:08x}", rand::random::<u32>());
            Queue::own(self.group, pattern, instance.into())
        } else {
            Queue::shared(self.group, pattern)
        };
        let store = Arc::clone(self.events.store());
        let permits = Arc::new(Semaphore::new(self.settings.concurrency));
        let meters = self.events.meters().of_group(&queue.group);
        let (settings, lost) = (self.settings, AtomicUsize::new(0));
        let mut opening = self.opening;
        if self.patient && opening.from == Start::Now {
            opening.from = Start::At(self.events.clock().wall());
        }
        let consumer = Consumer { store, queue, opening, name, settings, handler, meters, permits, lost };
        let opened = consumer.store.open(&consumer.queue, self.opening);
        let opened = opened.within(consumer.settings.op_timeout).await;
        // A consumer opens its queue by itself once it has missed it.
        let is_later = self.patient && !matches!(opened, Err(StoreError::Rejected { .. }));
        if let Err(error) = opened
            && !is_later
        {
            if matches!(error, StoreError::Unknown { .. }) {
                consumer.leave().await;
            }
            return Err(error.into());
        }
        match self.events.start(consumer) {
            Ok(active) => Ok(Subscription { active }),
            // The handle was stopped while the queue was being opened.
            Err(consumer) => {
                consumer.leave().await;
                Err(Error::Stopped)
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        let Settings { concurrency, max_attempts, handler_timeout, visibility, .. } = &self.settings;
        let wrong = |field, reason| Err(Error::Option { field, reason });
        if !(1..=MAX_CONCURRENCY).contains(concurrency) {
            return wrong("concurrency", "must be 1 to 65,536");
        }
        if *max_attempts == 0 {
            return wrong("max_attempts", "must be at least 1");
        }
        if handler_timeout.is_zero() {
            return wrong("handler_timeout", "must not be zero");
        }
        if self.schemas.is_empty() {
            return wrong("schemas", "must not be empty");
        }
        if *visibility < Duration::from_millis(30) {
            return wrong("visibility", "must be at least 30 ms");
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(envelope: &Envelope, attempt: u32) -> Result<Event<T>, String> {
    let codec = codec_of(&envelope.content_type)
        .ok_or_else(|| shortened(format!("cannot read data of type {}", envelope.content_type)))?;
    let data = codec.decode(&envelope.data).map_err(|error| with_causes(&error))?;
    Ok(Event::new(envelope, attempt, data))
}

/// A subscription: events are handled until it is stopped, or the [`Events`] it came from is stopped or
/// dropped.
///
/// Dropping it stops nothing, and holding it keeps nothing going: the handle owns the tasks.
#[derive(Debug, Clone)]
pub struct Subscription {
    active: Arc<Active>,
}

impl Subscription {
    /// Ends it: fetches nothing more, gives running handlers until `deadline`, then drops them and gives their
    /// events back to the group. Giving back may take twice [`Options::op_timeout`](super::Options::op_timeout) more. A broadcast's queue is
    /// removed with what is left in it; a group's queue goes on taking events for whoever subscribes next, or until
    /// [`Events::retire`].
    ///
    /// Dropping the future does not stop the stopping: running handlers then have what time they need, or until
    /// [`Events::stop`].
    ///
    /// # Errors
    /// [`Overrun`]: handlers that block their thread and cannot be dropped.
    pub async fn stop(&self, deadline: Duration) -> Result<(), Overrun> {
        let stopped = self.active.stop(deadline).await;
        self.active.take_lost();
        stopped
    }

    /// The queue it handles.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.active.consumer.queue
    }
}

/// A consumer with its tasks.
pub(super) struct Active {
    consumer: Arc<Consumer>,
    closing: CancellationToken,
    tasks: TaskGroup,
}

impl Active {
    pub(super) fn start(consumer: Consumer) -> Self {
        let consumer = Arc::new(consumer);
        let tasks = TaskGroup::new();
        let closing = tasks.token().child_token();
        tasks.spawn("events", Arc::clone(&consumer).run(closing.clone(), tasks.token()));
        Self { consumer, closing, tasks }
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.consumer.queue
    }

    pub(super) fn is_running(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Its queue gets shorter.
    pub(super) fn is_fetching(&self) -> bool {
        !self.closing.is_cancelled()
    }

    /// Ends the tasks as soon as they can, without waiting for it.
    pub(super) fn cancel(&self) {
        self.tasks.token().cancel();
    }

    /// How many events were lost with the queue, where it was the subscription's own, and nobody was told of.
    pub(super) fn take_lost(&self) -> usize {
        self.consumer.lost.swap(0, Ordering::Relaxed)
    }

    /// Ends the tasks.
    pub(super) async fn stop(&self, deadline: Duration) -> Result<(), Overrun> {
        self.closing.cancel();
        let _in_time = tokio::time::timeout(deadline, self.consumer.idle()).await;
        let op_timeout = self.consumer.settings.op_timeout;
        // Two for the handlers and one for the queue, as in `Consumer::run`, and one to spare.
        self.tasks.stop(op_timeout.saturating_mul(4)).await
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.consumer.queue.instance.is_some() {
            // Where it takes a question to a server, the store retires the queue by itself later.
            let _at_once = self.consumer.store.retire(&self.consumer.queue).now();
        }
    }
}

impl std::fmt::Debug for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Active").field("queue", &self.consumer.queue).finish_non_exhaustive()
    }
}
