//! A pool of connections whose waits are bounded, whose queue is visible, and whose connections come
//! back clean whatever happened to their last user.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_core::deadline::Deadline;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Error as DriverError, Executor};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout_at};

use super::codec;
use super::connection::Connection;
use super::error::translate;
use crate::backend::Statement;
use crate::{Error, PoolStats, Row};

pub(super) struct Limits {
    pub(super) max: usize,
    pub(super) min: usize,
    pub(super) acquire: Duration,
    pub(super) idle: Duration,
}

pub(super) struct Pool {
    name: &'static str,
    connect: SqliteConnectOptions,
    pub(super) path: PathBuf,
    limits: Limits,
    permits: Arc<Semaphore>,
    /// Last in, first out: what is not needed grows old at the bottom and is closed.
    idle: Mutex<Vec<Connection>>,
    size: Arc<AtomicUsize>,
    waiting: AtomicUsize,
}

impl Pool {
    pub(super) fn new(
        name: &'static str,
        connect: SqliteConnectOptions,
        path: PathBuf,
        limits: Limits,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            connect,
            path,
            permits: Arc::new(Semaphore::new(limits.max)),
            limits,
            idle: Mutex::default(),
            size: Arc::default(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Opens connections until the minimum is reached.
    pub(super) async fn open_minimum(self: &Arc<Self>) -> Result<(), Error> {
        let mut held = Vec::new();
        for _ in 0..self.limits.min.min(self.limits.max) {
            held.push(self.acquire().await?);
        }
        Ok(())
    }

    pub(super) async fn acquire(self: &Arc<Self>) -> Result<Lease, Error> {
        let own = Instant::now() + self.limits.acquire;
        let deadline = Deadline::current().map_or(own, |deadline| deadline.instant().min(own));
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(self.closed()),
            Err(TryAcquireError::NoPermits) => {
                let _waiting = Waiting::new(&self.waiting);
                match timeout_at(deadline, self.permits.clone().acquire_owned()).await {
                    Ok(permit) => permit.map_err(|_: AcquireError| self.closed())?,
                    Err(_) => return Err(self.exhausted()),
                }
            }
        };
        timeout_at(deadline, self.connection(permit)).await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    async fn connection(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Result<Lease, Error> {
        let mut lease = Lease {
            connection: None,
            running: false,
            broken: false,
            in_transaction: false,
            pool: self.clone(),
            _permit: permit,
        };
        loop {
            let idle = self.idle().pop();
            let Some(connection) = idle else { break };
            // Held by the lease while it settles: a caller that gives up does not lose it.
            if lease.connection.insert(connection).settle().await {
                return Ok(lease);
            }
            lease.connection = None;
        }
        let opened = Connection::open(&self.connect, &self.size).await;
        lease.connection = Some(opened.map_err(|error| translate(error, &self.path))?);
        Ok(lease)
    }

    fn put_back(&self, mut connection: Connection) {
        let now = Instant::now();
        connection.idle_since = now;
        let mut idle = self.idle();
        if !self.permits.is_closed() {
            idle.push(connection);
        }
        // Dropping a connection ends its thread; nobody waits for it here.
        let expired = idle.iter().take_while(|c| now - c.idle_since > self.limits.idle).count();
        let spare = self.size.load(Ordering::Relaxed).saturating_sub(self.limits.min);
        idle.drain(..expired.min(spare));
    }

    pub(super) async fn close(&self) {
        let all = u32::try_from(self.limits.max).unwrap_or(u32::MAX);
        let deadline = Instant::now() + self.limits.acquire;
        if timeout_at(deadline, self.permits.acquire_many(all)).await.is_err() {
            tracing::warn!(target: "mainstay_sql", pool = self.name, "closed while connections were in use");
        }
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            connection.close().await;
        }
    }

    pub(super) fn stats(&self) -> PoolStats {
        let idle = self.idle().len();
        PoolStats {
            name: self.name,
            max: self.limits.max,
            size: self.size.load(Ordering::Relaxed),
            idle,
            in_use: self.limits.max.saturating_sub(self.permits.available_permits()),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> Error {
        Error::unavailable(format!("the {} pool of {} is closed", self.name, self.path.display()))
    }

    fn exhausted(&self) -> Error {
        let stats = self.stats();
        Error::unavailable(format!(
            "no {} connection became free within {:?}: {} of {} in use, {} callers waiting; keep transactions short or raise DB_POOL_MAX",
            self.name, self.limits.acquire, stats.in_use, stats.max, stats.waiting
        ))
    }

    fn unanswered(&self) -> Error {
        Error::unavailable(format!("{} did not open within {:?}", self.path.display(), self.limits.acquire))
    }
}

/// A borrowed connection; dropping it gives the connection back clean.
pub(super) struct Lease {
    /// Present from acquisition to drop.
    connection: Option<Connection>,
    /// A statement was started and has not ended.
    running: bool,
    /// The connection's thread is gone.
    broken: bool,
    pub(super) in_transaction: bool,
    pool: Arc<Pool>,
    /// Dropped last, when the connection is back.
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) async fn execute(&mut self, statement: &Statement) -> Result<u64, Error> {
        let query = codec::bind(statement).map_err(|error| translate(error, &self.pool.path))?;
        let result = self.start().execute(query).await;
        self.finish(result).map(|done| done.rows_affected())
    }

    pub(super) async fn fetch_all(&mut self, statement: &Statement) -> Result<Vec<Row>, Error> {
        let query = codec::bind(statement).map_err(|error| translate(error, &self.pool.path))?;
        let result = self.start().fetch_all(query).await.and_then(|rows| codec::rows(&rows));
        self.finish(result)
    }

    pub(super) async fn fetch_optional(&mut self, statement: &Statement) -> Result<Option<Row>, Error> {
        let query = codec::bind(statement).map_err(|error| translate(error, &self.pool.path))?;
        let result = self.start().fetch_optional(query).await.and_then(|row| codec::rows(row.as_slice()));
        Ok(self.finish(result)?.pop())
    }

    /// The driver's connection, for work that must not be interrupted half-way.
    pub(super) fn raw(&mut self) -> &mut SqliteConnection {
        &mut self.connection.as_mut().expect("a lease holds its connection until it is dropped").raw
    }

    fn start(&mut self) -> &mut SqliteConnection {
        self.running = true;
        self.raw()
    }

    fn finish<T>(&mut self, result: Result<T, DriverError>) -> Result<T, Error> {
        self.running = false;
        result.map_err(|error| {
            self.broken |= matches!(error, DriverError::WorkerCrashed);
            translate(error, &self.pool.path)
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take().filter(|_| !self.broken) {
            if self.running || self.in_transaction {
                connection.abandon();
            }
            self.pool.put_back(connection);
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
