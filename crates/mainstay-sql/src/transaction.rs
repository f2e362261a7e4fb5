//! A transaction: all of it or nothing.

use std::fmt;

use crate::backend::{Statement, TransactionBackend};
use crate::event::Carrier;
use crate::{Dialect, Error, Query, Row};

/// An open transaction. Drop it without [`commit`](Transaction::commit) and it is rolled back at once.
///
/// A failed statement ends it: as on PostgreSQL, everything after the failure is refused and `commit`
/// fails, so a half-done effect cannot be committed by mistake on a database that is more lenient.
pub struct Transaction {
    backend: Box<dyn TransactionBackend>,
    dialect: Dialect,
    /// Set while a statement runs and left set if it fails or is dropped.
    failed: bool,
    /// Where its events go.
    carrier: Option<Carrier>,
    /// Called when it has committed.
    committed: Vec<Box<dyn FnOnce() + Send>>,
}

impl Transaction {
    pub(crate) fn new(
        backend: Box<dyn TransactionBackend>,
        dialect: Dialect,
        carrier: Option<Carrier>,
    ) -> Self {
        Self { backend, dialect, failed: false, carrier, committed: Vec::new() }
    }

    /// Whose SQL it takes, for the statements that differ.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Starts a statement in this transaction; reads see its own writes.
    pub fn query(&mut self, sql: &'static str) -> Query<'_> {
        Query::in_transaction(self, sql)
    }

    /// Makes the effects permanent. If this future is dropped, the outcome is unknown.
    ///
    /// # Errors
    /// [`Error::Query`] if a statement had failed; otherwise what kept the store from committing. In both
    /// cases nothing was kept, except that after [`Error::Timeout`] and [`Error::Unavailable`] (the disk did not
    /// confirm it) the outcome is unknown.
    pub async fn commit(self) -> Result<(), Error> {
        self.refuse_if_failed()?;
        self.backend.commit().await?;
        self.committed.into_iter().for_each(|call| call());
        Ok(())
    }

    /// Calls `then` once the transaction has committed, before [`commit`](Self::commit) returns; never if it does not,
    /// or if its outcome is unknown. For hints to who waits, such as a wake-up: a crash between the commit and the
    /// call loses it.
    pub fn on_commit(&mut self, then: impl FnOnce() + Send + 'static) {
        self.committed.push(Box::new(then));
    }

    pub(crate) fn carrier(&self) -> Option<Carrier> {
        self.carrier.clone()
    }

    /// Undoes everything. Cheaper than dropping: the connection is ready for the next user at once.
    ///
    /// # Errors
    /// If the store does not answer; the effects are gone all the same.
    pub async fn rollback(self) -> Result<(), Error> {
        if self.failed {
            return Ok(()); // Dropping rolls back, whatever state the failure left behind.
        }
        self.backend.rollback().await
    }

    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64, Error> {
        self.start()?;
        let result = self.backend.execute(statement).await;
        self.finish(result)
    }

    pub(crate) async fn fetch_all(&mut self, statement: Statement) -> Result<Vec<Row>, Error> {
        self.start()?;
        let result = self.backend.fetch_all(statement).await;
        self.finish(result)
    }

    pub(crate) async fn fetch_optional(&mut self, statement: Statement) -> Result<Option<Row>, Error> {
        self.start()?;
        let result = self.backend.fetch_optional(statement).await;
        self.finish(result)
    }

    pub(crate) fn fail(&mut self) {
        self.failed = true;
    }

    fn start(&mut self) -> Result<(), Error> {
        self.refuse_if_failed()?;
        self.fail();
        Ok(())
    }

    fn finish<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.failed = result.is_err();
        result
    }

    fn refuse_if_failed(&self) -> Result<(), Error> {
        if self.failed {
            return Err(Error::query(
                "an earlier statement of this transaction failed or was cancelled; begin a new one",
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("failed", &self.failed).finish_non_exhaustive()
    }
}
