//! The contract of a database. Everything a repository sees is written once above it; a backend knows
//! its driver, its placeholder style, its pools and its error codes, and nothing else.

use std::sync::Arc;

use async_trait::async_trait;

use crate::migrate::{Applied, Migration, RecordedMigration};
use crate::{Dialect, Error, PoolStats, Row, Value};

/// SQL text with `?` placeholders and its values, in order. A backend whose placeholders differ rewrites
/// the text; all text is `&'static`, so the rewritten form can be cached by address.
#[derive(Clone)]
pub(crate) struct Statement {
    pub(crate) sql: &'static str,
    pub(crate) label: &'static str,
    pub(crate) values: Vec<Value>,
}

impl Statement {
    /// The default label is the statement's verb: few values, safe as a metric label.
    pub(crate) fn new(sql: &'static str) -> Self {
        Self { sql, label: sql.split_whitespace().next().unwrap_or("empty"), values: Vec::new() }
    }
}

#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// Whose SQL it takes.
    fn dialect(&self) -> Dialect;
    /// Runs a statement on a connection that may write; answers the number of rows it changed.
    async fn execute(&self, statement: Statement) -> Result<u64, Error>;
    /// Runs a statement on a connection that may be read-only.
    async fn fetch_all(&self, statement: Statement) -> Result<Vec<Row>, Error>;
    /// As `fetch_all`, but stops after the first row.
    async fn fetch_optional(&self, statement: Statement) -> Result<Option<Row>, Error>;
    /// Opens a transaction that may write.
    async fn begin(&self) -> Result<Box<dyn TransactionBackend>, Error>;
    /// Answers once a read connection and the store behind it do, and the server that is written to if it is another.
    async fn ping(&self) -> Result<(), Error>;
    /// One entry for each pool.
    fn stats(&self) -> Vec<PoolStats>;
    /// Applies what is missing, under a lock that excludes other processes. Input is sorted and checked.
    async fn migrate(&self, migrations: &[Migration]) -> Result<Applied, Error>;
    /// What the database says was applied; empty if nothing ever was.
    async fn recorded_migrations(&self) -> Result<Vec<RecordedMigration>, Error>;
    /// The same, reading where it writes; `None` if it does.
    fn primary(&self) -> Option<Arc<dyn Backend>>;
    /// Waits for borrowed connections (bounded by the acquire timeout), then closes them all.
    async fn close(&self);
}

/// Dropping it rolls back.
#[async_trait]
pub(crate) trait TransactionBackend: Send {
    async fn execute(&mut self, statement: Statement) -> Result<u64, Error>;
    async fn fetch_all(&mut self, statement: Statement) -> Result<Vec<Row>, Error>;
    async fn fetch_optional(&mut self, statement: Statement) -> Result<Option<Row>, Error>;
    async fn commit(self: Box<Self>) -> Result<(), Error>;
    async fn rollback(self: Box<Self>) -> Result<(), Error>;
}
