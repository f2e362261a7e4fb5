//! Events in the service's own database: a [`Store`] for [`Events`](mainstay_core::event::Events) that needs nothing
//! else, and loses nothing that was accepted when the process dies.
//!
//! For each queue and event there is a row until the event is done or dead there, so that what is left to do is what
//! is in the table; no position is remembered that a transaction which commits late could slip behind.
//!
//! # Promise
//! - All of [`Store`]'s, over the death of the process at any moment: a verb that returned is in the database
//!   ([`Synchronous::Full`](crate::Synchronous::Full): on the disk), one that did not has happened as a whole or not.
//! - An event that is published in a [`Transaction`](crate::Transaction)
//!   ([`Publish::publish_in`](mainstay_core::event::Publish::publish_in)) is published if it commits, and not if it
//!   does not.
//! - Any number of processes may share the database.
//! - Verbs that wait for the disk wait together: many publishers cost few commits.
//!
//! # Not promised
//! - With [`Synchronous::Normal`](crate::Synchronous::Normal), that a cut of the power leaves the last moments.
//! - That time is right when the calendar is not: delays and visibility are reckoned by the calendar of the machine. A
//!   step forward delivers early; a step back delivers late, by so much.
//! - Speed beyond one writer: the database has one, and the service's own transactions take their turn with it. A
//!   handler that publishes while it holds a transaction, but not in it, waits until the deadline.
//!
//! # If the store is down
//! [`Refuse`](mainstay_core::store::Degrade::Refuse), with the words of the database: a full disk, a file that cannot
//! be written or is busy are [`StoreError::Unavailable`], and nothing has happened; a commit that was cut off, or that
//! the disk failed to confirm, is [`StoreError::Unknown`]. It goes on by itself when the database does.
//!
//! # Defaults
//! See [`Options`]. Who waits for events of other processes looks every 250 ms. An instance's own queue that nobody
//! fetched from for a day is removed; one that is more than half full, after five minutes.
//!
//! # Metrics
//! None of its own; the statements are labelled `events.*`.

mod carrier;
mod options;
mod read;
mod verbs;
mod writer;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::event::store::{
    Dead, Delivery, Fetch, History, Opening, Published, QueueStats, Receipt, Standing, Start, Store, Verdict,
};
use mainstay_core::event::{Envelope, EventId, Pattern, Queue};
use mainstay_core::store::{Reply, StoreError};
use mainstay_core::task::TaskGroup;
use mainstay_core::time::Clock;
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use carrier::Carrier;
pub use options::Options;
use verbs::{Refusal, micros};
pub(crate) use writer::before;
use writer::{Done, Job, Verb};

use crate::{Database, Dialect, Error, Migration};

/// How often whoever waits looks for what another process has published.
const POLL: Duration = Duration::from_millis(250);
/// Longest wait of a fetch: for ever, as far as anyone can tell.
const LONGEST: Duration = Duration::from_hours(365 * 24);
/// How often a queue's last fetch is written down, in microseconds.
const SEEN: i64 = 60_000_000;
/// An instance's own queue that was not fetched from for so long is removed, in microseconds.
const DESERTED: i64 = 24 * 3_600_000_000;
/// The same for one that is more than half full and would soon hold publishers up.
const IN_THE_WAY: i64 = 300_000_000;
/// Pause between two looks for what nobody needs any more.
const TIDY: Duration = Duration::from_secs(10);
/// Most verbs that wait for the writer.
const QUEUED: usize = 1_024;

/// The tables, as a migration under the version the service gives it.
#[must_use]
pub const fn migration(version: i64) -> Migration {
    Migration::sql(version, "events", include_str!("schema.sql"))
        .on(Dialect::Postgres, include_str!("schema.postgres.sql"))
        .on(Dialect::Mysql, include_str!("schema.mysql.sql"))
}

/// Events in a database. The tables are those of [`migration`].
///
/// Dropping it ends its writer; what was accepted is in the database.
#[derive(Debug)]
pub struct SqlEvents {
    inner: Arc<Inner>,
    jobs: mpsc::Sender<Job>,
    _tasks: TaskGroup,
}

pub(crate) struct Inner {
    db: Database,
    options: Options,
    clock: Clock,
    /// Who waits for which queue.
    waiting: Mutex<HashMap<String, Arc<Notify>>>,
}

impl SqlEvents {
    /// Events in `db`, whose transactions can carry events from now on.
    ///
    /// # Panics
    /// Outside a tokio runtime, as every spawn does.
    #[must_use]
    pub fn new(db: &Database, options: Options, clock: Clock) -> Self {
        let waiting = Mutex::default();
        let inner = Arc::new(Inner { db: db.primary(), options, clock, waiting });
        db.carry(Carrier::Queues(Arc::downgrade(&inner)));
        let (jobs, arriving) = mpsc::channel(QUEUED);
        let tasks = TaskGroup::new();
        tasks.spawn("event writer", writer::work(Arc::clone(&inner), arriving));
        let tidying = jobs.downgrade();
        tasks.spawn_until_cancelled("event janitor", async move {
            loop {
                tokio::time::sleep(TIDY).await;
                let Some(jobs) = tidying.upgrade() else { return };
                if let Err(error) = tidy(&jobs).await {
                    tracing::debug!(%error, "old events were not removed; trying again");
                }
            }
        });
        Self { inner, jobs, _tasks: tasks }
    }

    /// Removes what nobody needs any more; also done every 10 s.
    ///
    /// # Errors
    /// [`StoreError`]: some may have been removed.
    pub async fn tidy(&self) -> Result<(), StoreError> {
        tidy(&self.jobs).await
    }

    fn ask<T: Send + 'static>(
        &self,
        verb: Verb,
        read: fn(Done) -> Option<T>,
    ) -> Reply<'static, Result<T, StoreError>> {
        let jobs = self.jobs.clone();
        Reply::pending(async move { Ok(read(done(&jobs, verb).await?).expect("each verb has its answer")) })
    }

    /// What is there, as soon as there is something.
    async fn wait(&self, queue: &Queue, want: Fetch<'_>) -> Result<Vec<Delivery>, StoreError> {
        let end = tokio::time::Instant::now() + want.wait.min(LONGEST);
        let bell = self.inner.bell(queue);
        loop {
            let rung = bell.notified();
            let look = self.inner.look(queue).await?;
            if want.credits == 0 {
                return Ok(Vec::new());
            }
            if look.has_due || look.is_unseen {
                let take = Verb::Take {
                    queue: queue.clone(),
                    credits: want.credits,
                    visibility: micros(want.visibility),
                };
                let taken = self.ask(take, |done| match done {
                    Done::Taken(taken) => Some(taken),
                    _ => None,
                });
                let taken = taken.await?;
                if taken.len() == want.credits {
                    // There may be more, for another who waits.
                    bell.notify_one();
                }
                if !taken.is_empty() {
                    return Ok(taken);
                }
            }
            let now = tokio::time::Instant::now();
            if now >= end {
                return Ok(Vec::new());
            }
            let pause = look.next_due.unwrap_or(POLL).min(POLL).min(end - now).max(Duration::from_millis(1));
            let _whichever_comes_first = tokio::time::timeout(pause, rung).await;
        }
    }
}

impl Inner {
    fn now(&self) -> i64 {
        self.clock.wall().as_microsecond()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bell(&self, queue: &Queue) -> Arc<Notify> {
        let mut waiting = self.waiting();
        if waiting.len() > 1_024 {
            waiting.retain(|_, bell| Arc::strong_count(bell) > 1);
        }
        Arc::clone(waiting.entry(queue.to_string()).or_default())
    }

    /// Tells who waits for these queues.
    fn wake(&self, queues: &BTreeSet<String>) {
        if queues.is_empty() {
            return;
        }
        let waiting = self.waiting();
        for bell in queues.iter().filter_map(|queue| waiting.get(queue)) {
            bell.notify_one();
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("db", &self.db).field("options", &self.options).finish_non_exhaustive()
    }
}

/// Has the writer do it.
async fn done(jobs: &mpsc::Sender<Job>, verb: Verb) -> Result<Done, StoreError> {
    let (answer, answered) = oneshot::channel();
    let stopped = || StoreError::unavailable("the event store was closed");
    jobs.send(Job { verb, answer }).await.map_err(|_| stopped())?;
    // The writer answers everything it has begun, unless the runtime ends.
    answered.await.map_err(|_| StoreError::unknown("the event store was closed"))?
}

/// Part by part, so that other verbs have their turn in between.
async fn tidy(jobs: &mpsc::Sender<Job>) -> Result<(), StoreError> {
    while matches!(done(jobs, Verb::Tidy).await?, Done::Tidied { more: true }) {}
    Ok(())
}

fn refused(queue: Option<&Queue>, refusal: Refusal) -> StoreError {
    let queue = queue.map(ToString::to_string).unwrap_or_default();
    match refusal {
        Refusal::NoQueue => StoreError::rejected(format!("no queue {queue} is open")),
        Refusal::OtherOrder => StoreError::rejected(format!(
            "queue {queue} is open with the other kind of order: retire it, or use another group"
        )),
        Refusal::Sql(error) => writer::before(&error),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of what reads an answer")]
fn stood(done: Done) -> Option<Standing> {
    match done {
        Done::Stood(standing) => Some(standing),
        _ => None,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of what reads an answer")]
fn nothing(done: Done) -> Option<()> {
    matches!(done, Done::Nothing).then_some(())
}

impl Store for SqlEvents {
    fn publish<'a>(&'a self, events: &'a [Arc<Envelope>]) -> Reply<'a, Result<Published, StoreError>> {
        if let Some(refused) = other_topics(events) {
            return Reply::ready(Err(refused));
        }
        self.ask(Verb::Publish(events.to_vec()), |done| match done {
            Done::Published(published) => Some(published),
            _ => None,
        })
    }

    fn open<'a>(&'a self, queue: &'a Queue, opening: Opening) -> Reply<'a, Result<(), StoreError>> {
        self.ask(Verb::Open(queue.clone(), opening), nothing)
    }

    /// What a reply that is dropped had been given is due again after its visibility.
    fn fetch<'a>(
        &'a self,
        queue: &'a Queue,
        want: Fetch<'a>,
    ) -> Reply<'a, Result<Vec<Delivery>, StoreError>> {
        Reply::pending(self.wait(queue, want))
    }

    fn settle<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        verdict: Verdict,
    ) -> Reply<'a, Result<Standing, StoreError>> {
        self.ask(Verb::Settle(queue.clone(), receipt, verdict), stood)
    }

    fn extend<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        visibility: Duration,
    ) -> Reply<'a, Result<Standing, StoreError>> {
        let queue = queue.clone();
        self.ask(Verb::Extend { queue, receipt, visibility: micros(visibility) }, stood)
    }

    fn retire<'a>(&'a self, queue: &'a Queue) -> Reply<'a, Result<usize, StoreError>> {
        self.ask(Verb::Retire(queue.clone()), |done| match done {
            Done::Retired(unfinished) => Some(unfinished),
            _ => None,
        })
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
        self.ask(Verb::Redrive(queue.clone(), id), |done| match done {
            Done::Redriven(redriven) => Some(redriven),
            _ => None,
        })
    }

    fn rewind<'a>(&'a self, queue: &'a Queue, from: Start) -> Reply<'a, Result<(), StoreError>> {
        self.ask(Verb::Rewind(queue.clone(), from), nothing)
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

/// Refuses events of more than one topic.
fn other_topics(events: &[Arc<Envelope>]) -> Option<StoreError> {
    let mut topics = events.iter().map(|event| event.kind.topic());
    let first = topics.next()?;
    topics.any(|topic| topic != first).then(|| StoreError::rejected("the events are of more than one topic"))
}

/// A read that failed has done nothing.
fn unread(error: &Error) -> StoreError {
    writer::before(error)
}
