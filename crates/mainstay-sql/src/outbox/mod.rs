//! The outbox: events of a transaction, kept in the database until another store has them for good.
//!
//! A transaction can commit to one store only. So an event that is published in a transaction is written beside the
//! change, and a relay hands it to the store that carries events: at least once, and once in effect, because
//! publishing twice under one id is publishing once ("Transactional outbox", Richardson, *Microservices Patterns*, 2018).
//!
//! # Promise
//! - An event whose transaction has committed reaches the store, however often this process, the relay or the store
//!   die in between; one whose transaction has not, does not.
//! - Events keep their order within a topic: one relay at a time works for a database, whatever the number of
//!   processes, and it stops at the first event of a topic that the store does not take.
//! - Events that the store lost after it had accepted them, in a failover to a replica that had not heard of them, are
//!   published again: what was relayed within [`Options::keep`] is kept, and goes out once more when the store's epoch
//!   changes and when a relay starts. What the store has still, it recognises by the id.
//!
//! # Not promised
//! - That nothing is published twice: the store's memory of ids, and an inbox, see to that.
//! - Order across a lossy failover, or while a relay whose lease has lapsed is still at work.
//! - Events of a store that loses more than the last [`Options::keep`].
//!
//! # If the store is down
//! [`Queue`](mainstay_core::store::Degrade::Queue): transactions go on and their events wait in the table, up to
//! [`Options::max_waiting`]; beyond that publishing in a transaction meets back-pressure. The relay asks again, every
//! 100 ms up to every 5 s, and logs an outage once.
//!
//! # Defaults
//! See [`Options`].
//!
//! # Metrics
//! `events_outbox_waiting`, `events_outbox_oldest_age_seconds`, `events_outbox_relayed_total`,
//! `events_outbox_republished_total`

mod relay;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::event::Envelope;
use mainstay_core::event::store::{Published, Store};
use mainstay_core::metrics::{Counter, Gauge, Metrics, Unit};
use mainstay_core::store::StoreError;
use mainstay_core::task::{Overrun, TaskGroup};
use mainstay_core::time::Clock;
use tokio::sync::{Notify, watch};

use crate::event::{Carrier, before};
use crate::{Database, Dialect, Error, Migration, Transaction};

/// The tables, as a migration under the version the service gives it.
#[must_use]
pub const fn migration(version: i64) -> Migration {
    Migration::sql(version, "outbox", include_str!("schema.sql"))
        .on(Dialect::Postgres, include_str!("schema.postgres.sql"))
        .on(Dialect::Mysql, include_str!("schema.mysql.sql"))
}

/// How an outbox works: plain data with complete defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How long an event is kept after it was relayed, to be published again if the store turns out to have lost it:
    /// at most half of the time for which the store remembers ids. Default 10 min.
    pub keep: Duration,
    /// Most events that wait; beyond that publishing meets back-pressure. Default 100,000.
    pub max_waiting: usize,
    /// Longest time for one question to the store. Default 2 s.
    pub op_timeout: Duration,
    /// How long a relay that gives no sign of life keeps others from relaying. Default 10 s.
    pub lease: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(600),
            max_waiting: 100_000,
            op_timeout: Duration::from_secs(2),
            lease: Duration::from_secs(10),
        }
    }
}

/// The outbox of a database, with its relay. The tables are those of [`migration`].
///
/// Dropping it ends the relay; what waits is in the database.
#[derive(Debug)]
pub struct Outbox {
    inner: Arc<Inner>,
    tasks: TaskGroup,
}

pub(crate) struct Inner {
    db: Database,
    store: Arc<dyn Store>,
    options: Options,
    clock: Clock,
    /// Rung when something was recorded.
    recorded: Notify,
    /// How many wait, as far as this process knows.
    waiting: AtomicI64,
    /// Who this process is to others that would relay.
    owner: Mutex<String>,
    /// When the oldest that waits was recorded.
    oldest: Mutex<Option<i64>>,
    meters: Meters,
}

struct Meters {
    waiting: Gauge,
    oldest: Gauge,
    relayed: Counter,
    republished: Counter,
}

impl Outbox {
    /// Events that are published in transactions of `db` go to `store`. `epochs` changes whenever the store may have
    /// lost what it had accepted.
    ///
    /// # Panics
    /// Outside a tokio runtime, as every spawn does.
    #[must_use]
    pub fn start(
        db: &Database,
        store: Arc<dyn Store>,
        epochs: watch::Receiver<u64>,
        options: Options,
        metrics: &Metrics,
        clock: Clock,
    ) -> Self {
        let inner = Arc::new(Inner {
            db: db.primary(),
            store,
            options,
            clock,
            recorded: Notify::new(),
            waiting: AtomicI64::new(0),
            owner: Mutex::default(),
            oldest: Mutex::default(),
            meters: Meters::new(metrics),
        });
        db.carry(Carrier::Outbox(Arc::downgrade(&inner)));
        let tasks = TaskGroup::new();
        tasks.spawn_until_cancelled("outbox relay", relay::work(Arc::clone(&inner), epochs));
        Self { inner, tasks }
    }

    /// How many events wait, and for how long the oldest has.
    #[must_use]
    pub fn waiting(&self) -> (usize, Option<Duration>) {
        let count = usize::try_from(self.inner.waiting.load(Ordering::Relaxed)).unwrap_or(0);
        let oldest = *self.inner.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        let age = oldest.map(|since| self.inner.now().saturating_sub(since));
        (count, age.map(|age| Duration::from_micros(u64::try_from(age).unwrap_or(0))))
    }

    /// Ends the relay. What waits is relayed after the next start, by any process on this database.
    ///
    /// # Errors
    /// [`Overrun`]: the relay has not ended after `deadline`.
    pub async fn stop(&self, deadline: Duration) -> Result<(), Overrun> {
        let stopped = self.tasks.stop(deadline).await;
        self.inner.resign().await;
        stopped
    }
}

impl Inner {
    fn now(&self) -> i64 {
        self.clock.wall().as_microsecond()
    }

    fn count(&self, waiting: i64, oldest: Option<i64>) {
        self.waiting.store(waiting, Ordering::Relaxed);
        *self.oldest.lock().unwrap_or_else(PoisonError::into_inner) = oldest;
        self.meters.waiting.set(waiting as f64);
        let age = oldest.map_or(0, |since| self.now().saturating_sub(since).max(0));
        self.meters.oldest.set(age as f64 / 1e6);
    }
}

impl Meters {
    fn new(metrics: &Metrics) -> Self {
        metrics.describe_gauge("events_outbox_waiting", Unit::None, "Events that wait for their store.");
        metrics.describe_gauge(
            "events_outbox_oldest_age_seconds",
            Unit::Seconds,
            "How long the oldest event has waited for its store.",
        );
        metrics.describe_counter(
            "events_outbox_relayed_total",
            Unit::None,
            "Events that were handed to their store.",
        );
        metrics.describe_counter(
            "events_outbox_republished_total",
            Unit::None,
            "Events that were handed to their store once more, because it may have lost them.",
        );
        Self {
            waiting: metrics.gauge("events_outbox_waiting").with(&[]),
            oldest: metrics.gauge("events_outbox_oldest_age_seconds").with(&[]),
            relayed: metrics.counter("events_outbox_relayed_total").with(&[]),
            republished: metrics.counter("events_outbox_republished_total").with(&[]),
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("store", &self.store)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Writes events down in the transaction they belong to.
pub(crate) async fn record(
    inner: &Arc<Inner>,
    tx: &mut Transaction,
    events: &[Arc<Envelope>],
) -> Result<Published, StoreError> {
    if inner.waiting.load(Ordering::Relaxed) >= i64::try_from(inner.options.max_waiting).unwrap_or(i64::MAX) {
        return Ok(Published::Full);
    }
    write(inner, tx, events).await.map_err(|error| before(&error))?;
    let inner = Arc::clone(inner);
    tx.on_commit(move || inner.recorded.notify_one());
    Ok(Published::Accepted)
}

async fn write(inner: &Inner, tx: &mut Transaction, events: &[Arc<Envelope>]) -> Result<(), Error> {
    if tx.dialect() != Dialect::Sqlite {
        let sql = "SELECT id FROM mainstay_outbox_relay WHERE id = 2 FOR UPDATE";
        tx.query(sql).label("outbox.enter").fetch_one().await?;
    }
    let sql = match tx.dialect() {
        Dialect::Mysql => {
            "INSERT IGNORE INTO mainstay_outbox (id, topic, envelope, recorded_at) VALUES (?, ?, ?, ?)"
        }
        _ => {
            "INSERT INTO mainstay_outbox (id, topic, envelope, recorded_at) VALUES (?, ?, ?, ?) \
             ON CONFLICT (id) DO NOTHING"
        }
    };
    for event in events {
        let insert = tx.query(sql).bind(event.id.to_string()).bind(event.kind.topic());
        insert.bind(event.to_cloud_event()).bind(inner.now()).label("outbox.record").execute().await?;
    }
    Ok(())
}
