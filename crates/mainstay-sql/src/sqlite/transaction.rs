//! A transaction on the writer. `BEGIN IMMEDIATE` takes the write lock at once: a deferred transaction
//! that reads first can find the lock taken when it writes, and SQLite then fails it without waiting.

use std::sync::Arc;

use async_trait::async_trait;

use super::pool::Lease;
use crate::backend::{Statement, TransactionBackend};
use crate::observe::Recorder;
use crate::{Error, Row};

pub(super) struct SqliteTransaction {
    lease: Lease,
    recorder: Arc<Recorder>,
}

impl SqliteTransaction {
    pub(super) async fn begin(mut lease: Lease, recorder: Arc<Recorder>) -> Result<Self, Error> {
        let begin = Statement::new("BEGIN IMMEDIATE");
        recorder.statement(&begin, lease.execute(&begin)).await?;
        lease.in_transaction = true;
        Ok(Self { lease, recorder })
    }

    async fn end(mut self, sql: &'static str) -> Result<(), Error> {
        let end = Statement::new(sql);
        self.recorder.statement(&end, self.lease.execute(&end)).await?;
        self.lease.in_transaction = false;
        Ok(())
    }
}

#[async_trait]
impl TransactionBackend for SqliteTransaction {
    async fn execute(&mut self, statement: Statement) -> Result<u64, Error> {
        self.recorder.statement(&statement, self.lease.execute(&statement)).await
    }

    async fn fetch_all(&mut self, statement: Statement) -> Result<Vec<Row>, Error> {
        self.recorder.statement(&statement, self.lease.fetch_all(&statement)).await
    }

    async fn fetch_optional(&mut self, statement: Statement) -> Result<Option<Row>, Error> {
        self.recorder.statement(&statement, self.lease.fetch_optional(&statement)).await
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        self.end("COMMIT").await
    }

    async fn rollback(self: Box<Self>) -> Result<(), Error> {
        self.end("ROLLBACK").await
    }
}
