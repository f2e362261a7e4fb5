//! One connection and the rule that keeps it clean.
//!
//! Each SQLite connection of the driver has a thread of its own that works off commands in order. A
//! future that is dropped leaves its statement running there. So an abandoned connection is *interrupted*
//! (a flag read by SQLite's progress handler) and a `ROLLBACK` is queued behind whatever still runs;
//! before the next user gets it, it is *settled*: a second `ROLLBACK` is awaited, which proves that the
//! thread is idle and no transaction is open, and the flag is cleared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions, Connection as _, Error as DriverError, Executor};

use super::error::translate;
use super::{Target, codec, migrate};
use crate::backend::Statement;
use crate::migrate::{Applied, Migration};
use crate::pool::{self, Abandoned, Left, Pool};
use crate::{Dialect, Error, Row};

/// Virtual machine instructions between two looks at the interrupt flag, well below a millisecond.
const PROGRESS_STEPS: i32 = 1000;

pub(crate) struct Connection {
    raw: SqliteConnection,
    interrupt: Arc<AtomicBool>,
    /// Something was abandoned on it; see the module's documentation.
    unsettled: bool,
    /// The connection's thread is gone.
    broken: bool,
    target: Arc<Target>,
}

impl Connection {
    fn ended<T>(&mut self, result: Result<T, DriverError>) -> Result<T, Error> {
        result.map_err(|error| {
            self.broken |= matches!(error, DriverError::WorkerCrashed);
            translate(error, &self.target.path)
        })
    }
}

impl pool::Connection for Connection {
    type Target = Target;
    type Raw = SqliteConnection;

    const DIALECT: Dialect = Dialect::Sqlite;
    /// It takes the write lock at once: a deferred transaction that reads first can find the lock taken when it
    /// writes, and SQLite then fails it without waiting.
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    /// Reads the schema from the file; `SELECT 1` would touch nothing but memory.
    const PING: &'static str = "SELECT name FROM sqlite_master LIMIT 1";
    const FIND_HISTORY: &'static str =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'";

    async fn open(target: &Arc<Target>) -> Result<Self, Error> {
        let open = async {
            let mut raw = target.options.connect().await?;
            let interrupt = Arc::new(AtomicBool::new(false));
            let flag = interrupt.clone();
            raw.lock_handle()
                .await?
                .set_progress_handler(PROGRESS_STEPS, move || !flag.load(Ordering::Relaxed));
            Ok(Self { raw, interrupt, unsettled: false, broken: false, target: target.clone() })
        };
        open.await.map_err(|error| translate(error, &target.path))
    }

    async fn execute(&mut self, statement: &Statement) -> Result<u64, Error> {
        let result = match codec::bind(statement) {
            Ok(query) => self.raw.execute(query).await,
            Err(error) => Err(error),
        };
        self.ended(result).map(|done| done.rows_affected())
    }

    async fn fetch_all(&mut self, statement: &Statement) -> Result<Vec<Row>, Error> {
        let result = match codec::bind(statement) {
            Ok(query) => self.raw.fetch_all(query).await.and_then(|rows| codec::rows(&rows)),
            Err(error) => Err(error),
        };
        self.ended(result)
    }

    async fn fetch_optional(&mut self, statement: &Statement) -> Result<Option<Row>, Error> {
        let result = match codec::bind(statement) {
            Ok(query) => self.raw.fetch_optional(query).await.and_then(|row| codec::rows(row.as_slice())),
            Err(error) => Err(error),
        };
        Ok(self.ended(result)?.pop())
    }

    async fn control(&mut self, sql: &'static str) -> Result<(), Error> {
        let result = self.raw.execute(sql).await;
        self.ended(result).map(|_| ())
    }

    fn is_broken(&self) -> bool {
        self.broken
    }

    fn abandon(mut self, _: Left) -> Abandoned<Self> {
        // Stops what runs and undoes what is open, without waiting for either.
        self.interrupt.store(true, Ordering::Relaxed);
        // Polled once, this queues the command and forgets the answer. Should the queue be full, the
        // transaction stays open until the connection is settled.
        let _ = self.raw.execute("ROLLBACK").now_or_never();
        self.unsettled = true;
        Abandoned::Kept(self)
    }

    async fn settle(&mut self, _: Duration) -> bool {
        if self.unsettled {
            if let Err(error) = self.raw.execute("ROLLBACK").await
                && !matches!(error, DriverError::Database(_))
            {
                return false; // The worker thread is gone. "No transaction is active" is the good case.
            }
            self.interrupt.store(false, Ordering::Relaxed);
            self.unsettled = false;
        }
        true
    }

    async fn close(self) {
        if let Err(error) = self.raw.close().await {
            tracing::debug!(target: "mainstay_sql", %error, "closing a connection failed");
        }
    }

    fn raw(&mut self) -> &mut SqliteConnection {
        &mut self.raw
    }

    fn translate(error: DriverError, target: &Target) -> Error {
        translate(error, &target.path)
    }

    async fn migrate(pool: &Arc<Pool<Self>>, migrations: &[Migration]) -> Result<Applied, Error> {
        migrate::run(pool, migrations).await
    }
}
