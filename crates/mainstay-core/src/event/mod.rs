//! Events: typed messages from whoever publishes them to every group that wants them.
//!
//! # Promise
//! Numbered as in the specification.
//! - **E1** An event whose publish returned `Ok` reaches a handler of every group that was subscribed, at least
//!   once, for as long as the store lives: through handlers that fail, panic, hang or are cancelled, and through
//!   a store that comes and goes. Publishing twice under one id is publishing once. [`Publish::publish_in`] makes that
//!   promise with the commit of a transaction, and none without it.
//! - **E2** Events of one subject are handled in the order they were published, one after the other, by whichever
//!   instance, if the group asks for it ([`Subscribe::ordered`]): none is delivered before every earlier one of
//!   its subject is done or dead. Subjects do not wait for each other.
//! - **E3** For each group an accepted event is in exactly one state: queued, pending, delayed, done or dead.
//! - **E4** A queue is bounded. When one is full, publishing fails with [`Error::Backpressure`] and has no effect;
//!   nothing is dropped to make room.
//! - **E5** A handler runs again for an event only when it failed, was cancelled, or gave no sign of life for the
//!   visibility time; a handler that merely takes long gives signs.
//! - **E6** How long an accepted event lives is the store's promise: with [`Memory`] as long as the process; in the
//!   service's database (`mainstay-sql`) it survives the death of the process and the machine, with Redis
//!   (`mainstay-redis`) what the server's persistence and replicas survive, and with the outbox their loss, too.
//! - A subscription never handles more events at once than its concurrency, and takes no more than it can
//!   handle.
//! - Dropping any future here leaks nothing. All tasks belong to the handle; [`Events::stop`] ends them.
//!
//! # Not promised
//! - Exactly once: a handler must bear to see an event twice (E5).
//! - Order, beyond E2: a queue hands events out in the order they were published, apart from those that are delivered
//!   again. With one subscriber, a concurrency of 1 and no failure that is the order they are handled in; handlers
//!   that run at once may begin in any. A redriven event comes behind those of its subject, a rewound group sees
//!   again what it had seen.
//! - Durability, with [`Memory`]: [`Events::stop`] drains the queues first and says what it could not drain.
//! - History without end: what is retained for [`Start`], [`Events::rewind`] and [`Events::history`] is bounded
//!   by the store; who asks for more is told.
//! - That dead letters stay: [`Memory`] keeps the latest 1,000 of a queue.
//!
//! # If the store is down
//! Publishing is refused ([`DEGRADE`]): [`Error::Unavailable`] at once, or [`Error::Unknown`] after up to three
//! tries within the deadline when no answer came. Consumers ask again, every 250 ms up to every 5 s, and go
//! on by themselves; an outage is logged once at its beginning and once at its end.
//!
//! # Defaults
//! JSON, 500 ms per question to the store, 256 KiB of data, 16 events at once, 5 attempts 100 ms to 30 s apart,
//! 30 s per handler, 30 s visibility, 10,000 events per queue, the latest 1,000 of a topic retained: see [`Options`].
//!
//! # Metrics
//! - `events_published_total{type}`, `events_handled_total{type,group,result="done"|"retried"|"dead"}`,
//!   `events_redelivered_total{group}`, `events_handler_duration_seconds{type,group}`
//! - `events_queue_length{group}`, `events_delayed{group}`, `events_pending{group}`, `events_dead_letters{group}`,
//!   `events_oldest_age_seconds{group}`, `events_dead_letters_dropped_total{group}`: of a store on a server as they
//!   stood within the last 15 s, or a minute if it is away ([`Events::last_stats`])
//!
//! ```
//! use mainstay_core::event::{Event, Events, Options};
//! use mainstay_core::{metrics::Metrics, time::Clock};
//! use std::time::Duration;
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct UserCreated {
//!     email: String,
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let events = Events::in_memory(Options::new("users"), &Metrics::new(), Clock::system());
//! events
//!     .subscribe("user.created", |event: Event<UserCreated>| async move {
//!         println!("welcome, {}", event.data.email);
//!     })
//!     .await?;
//! events.publish("user.created", &UserCreated { email: "ada@example.org".into() }).await?;
//! events.stop(Duration::from_secs(5)).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod cloud_event;
mod config;
mod consumer;
mod dead_letter;
mod envelope;
mod error;
mod feed;
mod gate;
mod memory;
mod meters;
mod name;
mod outcome;
mod publish;
mod sampler;
mod stop;
pub mod store;
mod subscribe;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use cloud_event::InvalidCloudEvent;
pub use config::{Bounds, Options};
pub use dead_letter::{DeadLetter, DeadLetterId, InvalidDeadLetterId};
pub use envelope::{Envelope, EventId};
pub use error::{Error, Unfinished};
pub use feed::{Feed, Item, Reader};
pub use memory::Memory;
pub use name::{InvalidName, Kind, MAX_NAME, Pattern};
pub use outcome::{IntoOutcome, Outcome};
pub use publish::Publish;
pub use sampler::LastStats;
pub use store::{History, Opening, Queue, QueueStats, Start, Store, Transactional};
pub use subscribe::{Subscribe, Subscription};

use crate::metrics::Metrics;
use crate::store::Degrade;
use crate::task::TaskGroup;
use crate::telemetry::trace_context::TraceContext;
use crate::time::Clock;

use consumer::Consumer;
use feed::Feeds;
use gate::Gate;
use gate::Pass;
use meters::Meters;
use sampler::Sampler;
use subscribe::Active;

/// What publishing does while the store is down.
pub const DEGRADE: Degrade = Degrade::Refuse;

/// An event as a handler gets it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event<T> {
    /// Its name, the same for each delivery: what a handler keeps in mind to see a repetition.
    pub id: EventId,
    /// What happened.
    pub kind: Kind,
    /// The version of the data's schema, from 1.
    pub schema: u32,
    /// The service that published it.
    pub source: Arc<str>,
    /// What it happened to.
    pub subject: Option<String>,
    /// When it happened, by the publisher's calendar.
    pub time: Timestamp,
    /// The publisher's place in its trace.
    pub trace_parent: Option<TraceContext>,
    /// Which delivery this is, from 1.
    pub attempt: u32,
    /// What is to be known about it.
    pub data: T,
}

impl<T> Event<T> {
    fn new(envelope: &Envelope, attempt: u32, data: T) -> Self {
        Self {
            id: envelope.id,
            kind: envelope.kind.clone(),
            schema: envelope.schema,
            source: Arc::clone(&envelope.source),
            subject: envelope.subject.clone(),
            time: envelope.time,
            trace_parent: envelope.trace_parent.as_deref().and_then(TraceContext::parse),
            attempt,
            data,
        }
    }
}

/// Publishes events and has them handled. Clones are the same handle; dropping the last one cancels its
/// subscriptions (a handler that holds a clone keeps it alive: use [`Events::stop`]).
#[derive(Debug, Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    options: Options,
    clock: Clock,
    meters: Meters,
    sampler: Arc<Sampler>,
    gate: Gate,
    active: Mutex<Vec<Arc<Active>>>,
    consumers: AtomicU64,
    feeds: Feeds,
    /// What is done beside the subscriptions.
    tasks: TaskGroup,
}

/// Also where somebody holds a [`Subscription`] still.
impl Drop for Inner {
    fn drop(&mut self) {
        let active = self.active.get_mut().unwrap_or_else(PoisonError::into_inner);
        active.iter().for_each(|active| active.cancel());
    }
}

impl Events {
    /// Events carried by `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, options: Options, metrics: &Metrics, clock: Clock) -> Self {
        let sampler = Arc::new(Sampler::new(&store, &options, clock.clone()));
        let meters = Meters::new(metrics, &sampler);
        let inner = Inner {
            store,
            options,
            clock,
            meters,
            sampler,
            gate: Gate::default(),
            active: Mutex::default(),
            consumers: AtomicU64::new(0),
            feeds: Feeds::default(),
            tasks: TaskGroup::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Events within this process, bounded by [`Options::memory`].
    #[must_use]
    pub fn in_memory(options: Options, metrics: &Metrics, clock: Clock) -> Self {
        let store = Memory::new(options.memory, clock.clone());
        Self::new(Arc::new(store), options, metrics, clock)
    }

    /// Publishes an event with nothing but a type and data: [`Publish::publish`].
    ///
    /// # Errors
    /// As [`Publish::publish`].
    pub async fn publish<T: Serialize + ?Sized>(&self, kind: &str, data: &T) -> Result<EventId, Error> {
        self.event(kind).publish(data).await
    }

    /// An event with more to it.
    pub const fn event<'a>(&'a self, kind: &'a str) -> Publish<'a> {
        Publish::new(self, kind)
    }

    /// Has events of a type, or of a pattern such as `user.*`, handled once by this service: [`Subscribe::handle`]
    /// with every default.
    ///
    /// # Errors
    /// As [`Subscribe::handle`].
    pub async fn subscribe<T, H, Fut, O>(&self, pattern: &str, handler: H) -> Result<Subscription, Error>
    where
        T: DeserializeOwned + Send + 'static,
        H: Fn(Event<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = O> + Send + 'static,
        O: IntoOutcome,
    {
        self.on(pattern).handle(handler).await
    }

    /// A subscription with more to it.
    pub fn on<'a>(&'a self, pattern: &'a str) -> Subscribe<'a> {
        Subscribe::new(self, pattern)
    }

    /// How every queue of the store stands.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Unknown`].
    pub async fn stats(&self) -> Result<Vec<QueueStats>, Error> {
        Ok(self.inner.store.stats().within(self.inner.options.op_timeout).await?)
    }

    /// Removes a queue with everything in it; says how many events were neither done nor dead.
    ///
    /// For a group that has left for good: until then its queue takes events, and when it is full publishing
    /// meets back-pressure. A subscription that is still active opens its queue again, behind the last event it got.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nothing happened. [`Error::Unknown`]: it may have.
    pub async fn retire(&self, queue: &Queue) -> Result<usize, Error> {
        Ok(self.inner.store.retire(queue).within(self.inner.options.op_timeout).await?)
    }

    /// Has a group handle once more what is retained from `start` on, beside what it has still to do.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nothing happened, or there is no such queue. [`Error::Unknown`]: it may have.
    pub async fn rewind(&self, queue: &Queue, start: Start) -> Result<(), Error> {
        Ok(self.inner.store.rewind(queue, start).within(self.inner.options.op_timeout).await?)
    }

    /// Retained events that a pattern takes, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Kind`], [`Error::Unavailable`], [`Error::Unknown`].
    pub async fn history(&self, pattern: &str, start: Start, limit: usize) -> Result<History, Error> {
        let pattern = Pattern::new(pattern)?;
        Ok(self.inner.store.history(&pattern, start, limit).within(self.inner.options.op_timeout).await?)
    }

    fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    fn options(&self) -> &Options {
        &self.inner.options
    }

    fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    fn meters(&self) -> &Meters {
        &self.inner.meters
    }

    fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    /// Lets a publisher or subscriber in.
    fn enter(&self) -> Result<Pass<'_>, Error> {
        let pass = self.inner.gate.enter().ok_or(Error::Stopped)?;
        self.inner.sampler.begin(&self.inner.tasks);
        Ok(pass)
    }

    /// A name no other consumer of this handle has, the same after a restart that subscribes in the same order.
    fn next_consumer(&self) -> String {
        let number = self.inner.consumers.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.inner.options.instance)
    }

    /// Sets a consumer to work; gives it back if the handle is stopped. Whoever stops it closes the gate first and
    /// looks at the list then, so that no consumer is overlooked.
    fn start(&self, consumer: Consumer) -> Result<Arc<Active>, Box<Consumer>> {
        let mut all = self.inner.active.lock().unwrap_or_else(PoisonError::into_inner);
        if self.gate().is_closed() {
            return Err(Box::new(consumer));
        }
        all.retain(|active| active.is_running());
        let active = Arc::new(Active::start(consumer));
        all.push(Arc::clone(&active));
        Ok(active)
    }

    fn active(&self) -> Vec<Arc<Active>> {
        self.inner.active.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
