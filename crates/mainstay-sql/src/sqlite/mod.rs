//! The SQLite backend: one writer, many readers, write-ahead log.
//!
//! SQLite allows one writer at a time, so more write connections would only wait for each other inside
//! the busy handler; a pool of one queues them fairly instead. Readers never wait for the writer.

mod codec;
mod connection;
mod error;
mod files;
mod migrate;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use tokio::time::{Instant, sleep};

use crate::backend::Statement;
use crate::pool::{Limits, Pool};
use crate::pooled::Pooled;
use crate::{Error, Options, Synchronous};
use connection::Connection;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a connection leads.
pub(crate) struct Target {
    options: SqliteConnectOptions,
    path: PathBuf,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// One connection: SQLite would only let more of them wait for each other.
fn single(options: &Options) -> Limits {
    Limits { max: 1, min: 1, ..Limits::from(options) }
}

pub(crate) async fn open_file(path: &Path, options: &Options) -> Result<Pooled<Connection>, Error> {
    let path = files::prepare(path).await?;
    let target = Target { options: base(options).filename(&path), path: path.clone() };
    let writer = Pool::new("writer", Arc::new(target), single(options));
    write_ahead_log(&writer, Instant::now() + options.acquire_timeout).await?;
    // Not `SQLITE_OPEN_READONLY`: such a connection cannot rebuild the shared-memory index.
    let reading = base(options).filename(&path).create_if_missing(false).pragma("query_only", "ON");
    let reader = Pool::new("reader", Arc::new(Target { options: reading, path }), options.into());
    reader.open_minimum().await?;
    Ok(Pooled::new(writer, reader, options))
}

pub(crate) async fn open_memory(options: &Options) -> Result<Pooled<Connection>, Error> {
    let target = Target { options: base(options).in_memory(true), path: ":memory:".into() };
    let writer = Pool::new("writer", Arc::new(target), single(options));
    writer.open_minimum().await?;
    Ok(Pooled::new(writer.clone(), writer, options))
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

/// Switches to the write-ahead log. Connections that switch a fresh file at the same moment fail each other
/// without regard to the busy timeout (SQLite avoids a deadlock that way), so they try again.
async fn write_ahead_log(writer: &Arc<Pool<Connection>>, deadline: Instant) -> Result<(), Error> {
    let mut lease = writer.acquire().await?;
    loop {
        match lease.execute(&Statement::new("PRAGMA journal_mode = WAL")).await {
            Err(Error::Busy { .. }) if Instant::now() < deadline => sleep(Duration::from_millis(20)).await,
            other => return other.map(|_| ()),
        }
    }
}
