//! The SQLite backend: one writer, many readers, write-ahead log.
//!
//! SQLite allows one writer at a time, so more write connections would only wait for each other inside
//! the busy handler; a pool of one queues them fairly instead. Readers never wait for the writer.

mod codec;
mod connection;
mod error;
mod files;
mod migrate;
mod pool;
mod transaction;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use tokio::time::{Instant, sleep};

use crate::backend::{Backend, Statement, TransactionBackend};
use crate::migrate::{Applied, Migration, RecordedMigration};
use crate::observe::Recorder;
use crate::{Error, Options, PoolStats, Row, Synchronous};
use pool::{Limits, Pool};
use transaction::SqliteTransaction;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Sqlite {
    writer: Arc<Pool>,
    /// The writer itself for an in-memory database, which exists on one connection only.
    reader: Arc<Pool>,
    recorder: Arc<Recorder>,
}

impl Sqlite {
    pub(crate) async fn open_file(path: &Path, options: &Options) -> Result<Self, Error> {
        let path = files::prepare(path).await?;
        let writer = Pool::new(
            "writer",
            base(options).filename(&path),
            path.clone(),
            Limits { max: 1, min: 1, acquire: options.acquire_timeout, idle: options.idle_timeout },
        );
        write_ahead_log(&writer, Instant::now() + options.acquire_timeout).await?;
        let reader = Pool::new(
            "reader",
            // Not `SQLITE_OPEN_READONLY`: such a connection cannot rebuild the shared-memory index.
            base(options).filename(&path).create_if_missing(false).pragma("query_only", "ON"),
            path,
            Limits {
                max: options.pool_max,
                min: options.pool_min,
                acquire: options.acquire_timeout,
                idle: options.idle_timeout,
            },
        );
        reader.open_minimum().await?;
        Ok(Self { writer, reader, recorder: Arc::new(recorder(options)) })
    }

    pub(crate) async fn open_memory(options: &Options) -> Result<Self, Error> {
        let writer = Pool::new(
            "writer",
            base(options).in_memory(true),
            ":memory:".into(),
            Limits { max: 1, min: 1, acquire: options.acquire_timeout, idle: options.idle_timeout },
        );
        writer.open_minimum().await?;
        Ok(Self { reader: writer.clone(), writer, recorder: Arc::new(recorder(options)) })
    }
}

fn base(options: &Options) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .create_if_missing(true)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .synchronous(match options.synchronous {
            Synchronous::Normal => SqliteSynchronous::Normal,
            Synchronous::Full => SqliteSynchronous::Full,
        })
        .disable_statement_logging()
}

fn recorder(options: &Options) -> Recorder {
    Recorder {
        observer: options.observer.clone(),
        slow_query: options.slow_query,
        statement_timeout: options.statement_timeout,
    }
}

/// Switches to the write-ahead log. Connections that switch a fresh file at the same moment fail each other
/// without regard to the busy timeout (SQLite avoids a deadlock that way), so they try again.
async fn write_ahead_log(writer: &Arc<Pool>, deadline: Instant) -> Result<(), Error> {
    let mut lease = writer.acquire().await?;
    loop {
        match lease.execute(&Statement::new("PRAGMA journal_mode = WAL")).await {
            Err(Error::Busy { .. }) if Instant::now() < deadline => sleep(Duration::from_millis(20)).await,
            other => return other.map(|_| ()),
        }
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn execute(&self, statement: Statement) -> Result<u64, Error> {
        let mut lease = self.writer.acquire().await?;
        self.recorder.statement(&statement, lease.execute(&statement)).await
    }

    async fn fetch_all(&self, statement: Statement) -> Result<Vec<Row>, Error> {
        let mut lease = self.reader.acquire().await?;
        self.recorder.statement(&statement, lease.fetch_all(&statement)).await
    }

    async fn fetch_optional(&self, statement: Statement) -> Result<Option<Row>, Error> {
        let mut lease = self.reader.acquire().await?;
        self.recorder.statement(&statement, lease.fetch_optional(&statement)).await
    }

    async fn begin(&self) -> Result<Box<dyn TransactionBackend>, Error> {
        let lease = self.writer.acquire().await?;
        Ok(Box::new(SqliteTransaction::begin(lease, self.recorder.clone()).await?))
    }

    async fn ping(&self) -> Result<(), Error> {
        // Reads the schema from the file; `SELECT 1` would touch nothing but memory.
        self.fetch_optional(Statement::new("SELECT name FROM sqlite_master LIMIT 1")).await.map(|_| ())
    }

    fn stats(&self) -> Vec<PoolStats> {
        let mut stats = vec![self.writer.stats()];
        if !Arc::ptr_eq(&self.writer, &self.reader) {
            stats.push(self.reader.stats());
        }
        stats
    }

    async fn migrate(&self, migrations: &[Migration]) -> Result<Applied, Error> {
        migrate::run(&self.writer, migrations).await
    }

    async fn recorded_migrations(&self) -> Result<Vec<RecordedMigration>, Error> {
        migrate::recorded(&mut self.reader.acquire().await?).await
    }

    async fn close(&self) {
        // Readers first: the last connection to leave folds the log back into the file.
        self.reader.close().await;
        self.writer.close().await;
    }
}
