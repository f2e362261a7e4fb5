//! What is measured: every statement once, with its deadline, its slow-query log line and its observer.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::deadline::Deadline;
use tokio::time::{Instant, timeout};

use crate::Error;
use crate::backend::Statement;

/// Longest statement text in a log line, in bytes.
const LOGGED_TEXT: usize = 500;

/// Told about every statement that ended; cancelled ones are not reported. Must not block.
pub trait Observer: Send + Sync {
    /// `label` is the statement's verb unless [`Query::label`](crate::Query::label) named it; `duration`
    /// is the time on the connection, without waiting for one.
    fn on_query(&self, label: &'static str, duration: Duration, outcome: Result<(), &Error>);
}

/// A pool at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// `writer` or `reader` of SQLite, `primary` or `replica` among servers.
    pub name: &'static str,
    /// Most connections the pool may open.
    pub max: usize,
    /// Connections it keeps open when idle.
    pub min: usize,
    /// Longest wait for a connection.
    pub acquire_timeout: Duration,
    /// How long a connection above the minimum is kept idle.
    pub idle_timeout: Duration,
    /// Open connections.
    pub size: usize,
    /// Open connections nobody uses.
    pub idle: usize,
    /// Connections lent out, one being opened included.
    pub in_use: usize,
    /// Callers that wait for a connection.
    pub waiting: usize,
}

pub(crate) struct Recorder {
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) slow_query: Duration,
    pub(crate) statement_timeout: Duration,
}

impl Recorder {
    /// Runs `work` under the statement timeout, and the caller's deadline if that is earlier, and records how it ended.
    pub(crate) async fn run<T>(
        &self,
        sql: &'static str,
        label: &'static str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let time = Deadline::current()
            .map_or(self.statement_timeout, |deadline| self.statement_timeout.min(deadline.remaining()));
        // With no time left nothing is begun: undoing it at a server costs its connection.
        let result = if time.is_zero() { None } else { timeout(time, work).await.ok() };
        let result = result.unwrap_or(Err(Error::Timeout { after: time }));
        let duration = started.elapsed();
        if duration >= self.slow_query {
            let seconds = duration.as_secs_f64();
            tracing::warn!(target: "mainstay_sql", label, seconds, statement = shorten(sql), "slow query");
        }
        if let Err(error) = &result {
            tracing::debug!(target: "mainstay_sql", label, %error, statement = shorten(sql), "query failed");
        }
        if let Some(observer) = &self.observer {
            observer.on_query(label, duration, result.as_ref().map(|_| ()));
        }
        result
    }

    pub(crate) async fn statement<T>(
        &self,
        statement: &Statement,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.run(statement.sql, statement.label, work).await
    }
}

fn shorten(sql: &str) -> &str {
    let mut end = sql.len().min(LOGGED_TEXT);
    while !sql.is_char_boundary(end) {
        end -= 1;
    }
    &sql[..end]
}
