//! Events on Redis Streams: a [`Store`] for [`Events`](mainstay_core::event::Events).
//!
//! A topic is a stream, a queue is a consumer group on it, and each verb is one script and one round trip. Beside the
//! group's pending list, which an operator's tools show, lies an index by time: what is to be delivered again, because
//! its consumer fell silent or its handler asked for it, is found without looking through what is not. An event never
//! leaves the pending list before it is done or dead.
//!
//! # Promise
//! - All of [`Store`]'s, by the server's clock, on one server, under Sentinel and on a Cluster (all keys of a topic lie
//!   in one slot).
//! - Publishing twice under one id is publishing once, for at least [`Options::dedup_window`]: a publish whose answer
//!   was lost is sent again.
//! - Nothing is removed from a stream that a queue has still to finish: a full queue answers publishers with
//!   back-pressure.
//! - A group that somebody destroyed is made again where it was. A queue that the server lost with its data is opened
//!   again by who consumes, from the beginning of what the server has then.
//!
//! # Not promised
//! - More than the server keeps: without `appendfsync always` it may lose the last second, and a replica that is
//!   promoted what it had not heard. The [outbox](https://microservices.io/patterns/data/transactional-outbox.html) of
//!   `mainstay-sql` publishes that again.
//! - That time is right when the server's calendar is not.
//! - Order, or one slot, across topics. A topic is one stream on one server; subjects are what is ordered.
//! - Events on a server that evicts keys of its own accord (`maxmemory-policy allkeys-*`).
//!
//! # If the store is down
//! [`Refuse`](mainstay_core::store::Degrade::Refuse): every verb fails at once; consumers ask again.
//!
//! # Defaults
//! See [`Options`]. Who waits is woken by a message, and looks by itself after 2 s. Of an ordered queue at most 1,000
//! events wait behind others of their subject before it reads no further. Every 5 s one process tidies a topic.
//!
//! # Metrics
//! None of its own: those of [`mainstay_core::event`] and of the connection.

mod answers;
mod batch;
mod history;
mod script;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::event::store::{
    Dead, Delivery, Fetch, History, Opening, Published, QueueStats, Receipt, Standing, Start, Store, Verdict,
};
use mainstay_core::event::{Envelope, EventId, Pattern, Queue};
use mainstay_core::key::{Key, Space};
use mainstay_core::store::{Reply, StoreError};
use mainstay_core::task::TaskGroup;
use tokio::time::{Instant, sleep, timeout};

use crate::{Answer, CallError, Class, Command, Redis};
use batch::{Batches, Question};
use script::Scripts;

#[doc(hidden)]
pub use script::Sources;

/// Pause between two looks for what nobody needs any more.
const TIDY: Duration = Duration::from_secs(5);
/// Most entries that one question removes: the server does nothing else meanwhile.
const PART: u64 = 1_000;
/// Whoever cannot subscribe now asks again after this time.
const DEAF: Duration = Duration::from_millis(500);
/// Longest wait of a fetch: for ever, as far as anyone can tell.
const LONGEST: Duration = Duration::from_hours(365 * 24);
/// Longest wait of a fetch without asking again: a message may have been lost.
const LOOK: Duration = Duration::from_secs(2);

/// How much [`RedisEvents`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Most events of one queue that are neither done nor dead; beyond that publishing meets back-pressure. Default
    /// 100,000.
    pub max_queue: usize,
    /// Most dead letters of one queue; the oldest is dropped for a new one. Default 10,000.
    pub max_dead: usize,
    /// How long an id is remembered at least, so that publishing it again has no effect. Default 20 min: twice what an
    /// outbox keeps.
    pub dedup_window: Duration,
    /// How long an event is retained that every queue has finished: for history and for rewinding. Default 1 h.
    pub retention: Duration,
    /// Most events of a topic that are retained although every queue has finished them. Default 100,000.
    pub max_retained: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_queue: 100_000,
            max_dead: 10_000,
            dedup_window: Duration::from_secs(1_200),
            retention: Duration::from_secs(3_600),
            max_retained: 100_000,
        }
    }
}

/// Carries events on the server of a [`Redis`]. Dropping it ends its janitor.
#[derive(Debug)]
pub struct RedisEvents {
    inner: Arc<Inner>,
    publishes: Batches<Publish>,
    settlements: Batches<Settlement>,
    _tasks: TaskGroup,
}

/// Events that are published together, and how they are written.
struct Publish(Vec<(Arc<Envelope>, String)>);

impl Question for Publish {
    /// The topic.
    type Lane = Arc<str>;
    type Answer = Published;

    fn size(&self) -> usize {
        self.0.iter().map(|(_, written)| 64 + written.len()).sum()
    }
}

/// What a delivery came to.
struct Settlement {
    receipt: Receipt,
    verdict: Verdict,
}

impl Question for Settlement {
    type Lane = Queue;
    type Answer = Standing;

    fn size(&self) -> usize {
        let cause = if let Verdict::Dead { cause } = &self.verdict { cause.len() } else { 0 };
        64 + cause
    }
}

struct Inner {
    redis: Redis,
    space: Space,
    /// Where the names of the topics are.
    topics: String,
    options: Options,
    scripts: Scripts,
    /// The topics this process has entered.
    entered: Mutex<HashSet<Arc<str>>>,
    /// The queues this process has opened and not retired: one that is missing was lost.
    opened: Mutex<HashMap<String, Opened>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    Here,
    /// The server said that it knows nothing of it.
    Missed,
}

impl RedisEvents {
    /// The events of a namespace.
    ///
    /// # Panics
    /// Outside a tokio runtime, as every spawn does.
    #[must_use]
    pub fn new(redis: Redis, namespace: &str, options: Options) -> Self {
        Self::with_sources(redis, namespace, options, Sources::default())
    }

    /// For tests of the tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_sources(redis: Redis, namespace: &str, options: Options, sources: Sources) -> Self {
        let all = Key::new("topics").expect("it has a name");
        let inner = Arc::new(Inner {
            redis,
            space: Space::new(namespace, "event"),
            topics: Space::new(namespace, "events").written(all, "t"),
            options,
            scripts: Scripts::new(sources),
            entered: Mutex::default(),
            opened: Mutex::default(),
        });
        let tasks = TaskGroup::new();
        let janitor = Arc::clone(&inner);
        tasks.spawn_until_cancelled("event janitor", async move {
            loop {
                sleep(TIDY).await;
                if let Err(error) = janitor.tidy(TIDY).await {
                    tracing::debug!(%error, "old events were not removed; trying again");
                }
            }
        });
        let (publisher, settler) = (Arc::clone(&inner), Arc::clone(&inner));
        Self {
            inner,
            publishes: Batches::new(move |topic: Arc<str>, publishes| {
                let inner = Arc::clone(&publisher);
                async move { inner.publish(&topic, publishes).await }
            }),
            settlements: Batches::new(move |queue: Queue, settlements| {
                let inner = Arc::clone(&settler);
                async move { inner.settle(&queue, settlements).await }
            }),
            _tasks: tasks,
        }
    }

    /// Removes what nobody needs any more, also done every 5 s; says how many events that were.
    ///
    /// # Errors
    /// [`StoreError`]: some may have been removed.
    pub async fn tidy(&self) -> Result<u64, StoreError> {
        self.inner.tidy(Duration::from_millis(1)).await
    }
}

impl Inner {
    /// A key of a topic.
    fn key(&self, topic: &str, suffix: &str) -> String {
        self.space.written(Key::new(topic).expect("a topic has a name of 1 to 128 bytes"), suffix)
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, HashMap<String, Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entered(&self) -> std::sync::MutexGuard<'_, HashSet<Arc<str>>> {
        self.entered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tidy(&self, pause: Duration) -> Result<u64, StoreError> {
        // Should the server have lost the list.
        let entered: Vec<_> = self.entered().iter().cloned().collect();
        for topic in &entered {
            self.enter(topic).await?;
        }
        let mut removed = 0;
        for topic in self.topics().await? {
            loop {
                let tidy = self.scripts.tidy.call(Class::Idem, &[&self.key(&topic, "s")]);
                let tidy = tidy.arg(millis(self.options.retention)).arg(self.options.max_retained);
                let tidy = tidy.arg(millis(pause)).arg(self.options.max_queue / 2).arg(PART);
                let part = self.redis.call(tidy).await?.uint()?;
                removed += part;
                if part < PART {
                    break;
                }
            }
        }
        Ok(removed)
    }

    async fn topics(&self) -> Result<Vec<String>, StoreError> {
        let topics = self.redis.call(Command::new(Class::Read, "SMEMBERS").key(&self.topics)).await?;
        let mut names = Vec::new();
        for topic in topics.into_list()? {
            names.push(topic.text()?.to_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The topic is found by who looks for all of them.
    async fn enter(&self, topic: &str) -> Result<(), StoreError> {
        self.redis.call(Command::new(Class::Idem, "SADD").key(&self.topics).arg(topic)).await?;
        if !self.entered().contains(topic) {
            self.entered().insert(topic.into());
        }
        Ok(())
    }

    async fn publish(&self, topic: &str, publishes: Vec<Publish>) -> Result<Vec<Published>, StoreError> {
        // Or nobody would ever tidy a topic that has no queue.
        if !self.entered().contains(topic) {
            self.enter(topic).await?;
        }
        let room = publishes.iter().map(Question::size).sum();
        let mut publish = self.scripts.publish.call_with_room(Class::Idem, &[&self.key(topic, "s")], room);
        publish = publish.arg(self.options.max_queue).arg(millis(self.options.dedup_window).max(1));
        for Publish(events) in publishes {
            publish = publish.arg(events.len());
            for (event, written) in events {
                publish = publish.arg(event.kind.as_str()).arg(&event.id.uuid().as_bytes()[..]);
                publish = publish.arg(event.subject.as_deref().unwrap_or_default()).arg(written);
            }
        }
        let accepted = self.redis.call(publish).await?.into_list()?;
        let published =
            |accepted: Answer| Ok(if accepted.int()? == 1 { Published::Accepted } else { Published::Full });
        accepted.into_iter().map(published).collect()
    }

    async fn open(&self, queue: &Queue, opening: Opening) -> Result<(), StoreError> {
        let (topic, name) = (queue.pattern.topic(), queue.to_string());
        self.enter(topic).await?;
        let lost = self.opened().get(&name) == Some(&Opened::Missed);
        let from = if lost { "0-0".to_owned() } else { self.place(topic, opening.from).await?.0 };
        let open = self.scripts.open.call(Class::Idem, &[&self.key(topic, "s")]).arg(&name);
        let open = open.arg(queue.pattern.as_str()).arg(u32::from(opening.ordered));
        let open = open.arg(u32::from(queue.instance.is_some())).arg(from);
        if self.redis.call(open).await?.int()? == 0 {
            return Err(StoreError::rejected(format!(
                "queue {name} is open with the other kind of order: retire it, or use another group"
            )));
        }
        self.opened().insert(name, Opened::Here);
        Ok(())
    }

    async fn fetch(&self, queue: &Queue, want: Fetch<'_>) -> Result<Vec<Delivery>, StoreError> {
        let topic = queue.pattern.topic();
        let end = Instant::now() + want.wait.min(LONGEST);
        loop {
            let is_last = Instant::now() >= end || want.wait.is_zero();
            // Before the question: what comes after it rings.
            let bell =
                if is_last { None } else { Some(self.redis.listen(self.key(topic, "b").into_bytes()).await) };
            let (deliveries, again) = self.take(queue, want).await?;
            if !deliveries.is_empty() || is_last || want.credits == 0 {
                return Ok(deliveries);
            }
            let pause = again.unwrap_or(LOOK).min(LOOK).min(end - Instant::now());
            match bell {
                Some(Ok(bell)) => drop(timeout(pause, bell).await),
                Some(Err(error @ CallError::Rejected { .. })) => return Err(error.into()),
                _ => sleep(pause.min(DEAF)).await,
            }
        }
    }

    /// What is there, and if there is nothing, how long until something is due again.
    async fn take(
        &self,
        queue: &Queue,
        want: Fetch<'_>,
    ) -> Result<(Vec<Delivery>, Option<Duration>), StoreError> {
        // Not sent again by itself: what a lost answer would have delivered comes later, behind other events.
        let take = self.verb(&self.scripts.take, Class::Once, queue).arg(want.consumer);
        let take = take.arg(want.credits.min(1_000)).arg(millis(want.visibility)).arg(millis(LOOK));
        let answer = self.ask(queue, take).await?;
        Ok(answers::taken(answer)?)
    }

    fn verb(&self, script: &crate::Script, class: Class, queue: &Queue) -> Command {
        self.verb_with_room(script, class, queue, 0)
    }

    fn verb_with_room(&self, script: &crate::Script, class: Class, queue: &Queue, room: usize) -> Command {
        let stream = self.key(queue.pattern.topic(), "s");
        script.call_with_room(class, &[&stream], room).arg(queue.to_string())
    }

    /// Asks something that needs the queue to be open.
    async fn ask(&self, queue: &Queue, question: Command) -> Result<Answer, StoreError> {
        match self.redis.call(question).await {
            Err(CallError::Rejected { code, .. }) if &*code == "NOQUEUE" => {
                if let Some(opened) = self.opened().get_mut(&queue.to_string()) {
                    *opened = Opened::Missed;
                }
                Err(StoreError::rejected(format!("no queue {queue} is open")))
            }
            answer => Ok(answer?),
        }
    }

    async fn settle(&self, queue: &Queue, settlements: Vec<Settlement>) -> Result<Vec<Standing>, StoreError> {
        let room = settlements.iter().map(Question::size).sum();
        // Not sent again by itself when the answer is lost: the second would say that the receipts do not stand.
        let mut settle = self.verb_with_room(&self.scripts.settle, Class::Once, queue, room);
        settle = settle.arg(self.options.max_dead);
        for Settlement { receipt, verdict } in settlements {
            let (id, token) = answers::written(receipt);
            settle = settle.arg(id).arg(token);
            settle = match verdict {
                Verdict::Done => settle.arg("done").arg(0_u32),
                Verdict::Retry { after } => settle.arg("retry").arg(millis(after)),
                Verdict::Dead { cause } => settle.arg("dead").arg(cause),
            };
        }
        let standing = self.ask(queue, settle).await?.into_list()?;
        standing.iter().map(answers::standing).collect()
    }

    async fn extend(
        &self,
        queue: &Queue,
        receipt: Receipt,
        visibility: Duration,
    ) -> Result<Standing, StoreError> {
        let (id, token) = answers::written(receipt);
        let extend = self.verb(&self.scripts.extend, Class::Idem, queue).arg(id).arg(token);
        answers::standing(&self.ask(queue, extend.arg(millis(visibility))).await?)
    }

    async fn retire(&self, queue: &Queue) -> Result<usize, StoreError> {
        self.opened().remove(&queue.to_string());
        let left = self.redis.call(self.verb(&self.scripts.retire, Class::Once, queue)).await?;
        Ok(usize::try_from(left.int()?).unwrap_or(0))
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, StoreError> {
        let mut stats = Vec::new();
        for topic in self.topics().await? {
            let ask = self.scripts.stats.call(Class::Read, &[&self.key(&topic, "s")]);
            stats.extend(answers::stats(self.redis.call(ask).await?)?);
        }
        stats.sort_by(|a, b| a.queue.cmp(&b.queue));
        Ok(stats)
    }

    async fn dead_letters(&self, queue: &Queue, limit: usize) -> Result<Vec<Dead>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        // The server knows no larger numbers than signed ones.
        let limit = limit.min(1 << 31);
        let letters = self.key(queue.pattern.topic(), &format!("x:{queue}"));
        let read =
            Command::new(Class::Read, "XRANGE").key(&letters).arg("-").arg("+").arg("COUNT").arg(limit);
        Ok(answers::dead(self.redis.call(read).await?)?)
    }

    async fn redrive(&self, queue: &Queue, id: EventId) -> Result<bool, StoreError> {
        let redrive = self.verb(&self.scripts.redrive, Class::Once, queue).arg(&id.uuid().as_bytes()[..]);
        Ok(self.redis.call(redrive).await?.int()? == 1)
    }

    async fn rewind(&self, queue: &Queue, from: Start) -> Result<(), StoreError> {
        let place = match from {
            Start::Now => "18446744073709551615-0".to_owned(),
            from => self.place(queue.pattern.topic(), from).await?.0,
        };
        let rewind = self.verb(&self.scripts.rewind, Class::Idem, queue).arg(place);
        self.ask(queue, rewind).await.map(drop)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("space", &self.space)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Store for RedisEvents {
    fn publish<'a>(&'a self, events: &'a [Arc<Envelope>]) -> Reply<'a, Result<Published, StoreError>> {
        let Some(first) = events.first() else { return Reply::ready(Ok(Published::Accepted)) };
        let topic = first.kind.topic();
        if events.iter().any(|event| event.kind.topic() != topic) {
            return Reply::ready(Err(StoreError::rejected("the events are of more than one topic")));
        }
        let written = events.iter().map(|event| (Arc::clone(event), event.to_cloud_event())).collect();
        Reply::pending(self.publishes.ask(topic.into(), Publish(written)))
    }

    fn open<'a>(&'a self, queue: &'a Queue, opening: Opening) -> Reply<'a, Result<(), StoreError>> {
        Reply::pending(self.inner.open(queue, opening))
    }

    fn fetch<'a>(
        &'a self,
        queue: &'a Queue,
        want: Fetch<'a>,
    ) -> Reply<'a, Result<Vec<Delivery>, StoreError>> {
        Reply::pending(self.inner.fetch(queue, want))
    }

    fn settle<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        verdict: Verdict,
    ) -> Reply<'a, Result<Standing, StoreError>> {
        Reply::pending(self.settlements.ask(queue.clone(), Settlement { receipt, verdict }))
    }

    fn extend<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        visibility: Duration,
    ) -> Reply<'a, Result<Standing, StoreError>> {
        Reply::pending(self.inner.extend(queue, receipt, visibility))
    }

    fn retire<'a>(&'a self, queue: &'a Queue) -> Reply<'a, Result<usize, StoreError>> {
        Reply::pending(self.inner.retire(queue))
    }

    fn stats(&self) -> Reply<'_, Result<Vec<QueueStats>, StoreError>> {
        Reply::pending(self.inner.stats())
    }

    fn dead_letters<'a>(
        &'a self,
        queue: &'a Queue,
        limit: usize,
    ) -> Reply<'a, Result<Vec<Dead>, StoreError>> {
        Reply::pending(self.inner.dead_letters(queue, limit))
    }

    fn redrive<'a>(&'a self, queue: &'a Queue, id: EventId) -> Reply<'a, Result<bool, StoreError>> {
        Reply::pending(self.inner.redrive(queue, id))
    }

    fn rewind<'a>(&'a self, queue: &'a Queue, from: Start) -> Reply<'a, Result<(), StoreError>> {
        Reply::pending(self.inner.rewind(queue, from))
    }

    fn history<'a>(
        &'a self,
        pattern: &'a Pattern,
        from: Start,
        limit: usize,
    ) -> Reply<'a, Result<History, StoreError>> {
        Reply::pending(self.inner.history(pattern, from, limit))
    }

    fn is_volatile(&self) -> bool {
        false
    }
}

/// Whole milliseconds, rounded up; a century is for ever, and the server reckons in doubles.
fn millis(time: Duration) -> u64 {
    const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    u64::try_from(time.min(CENTURY).as_micros().div_ceil(1_000)).expect("a century has fewer milliseconds")
}
