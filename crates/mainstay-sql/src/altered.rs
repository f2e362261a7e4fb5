//! A database that alters statements on their way to it, so that tests can seed bugs and see them found.

use std::sync::Arc;

use async_trait::async_trait;

use crate::backend::{Backend, Statement, TransactionBackend};
use crate::migrate::{Applied, Migration, RecordedMigration};
use crate::{Dialect, Error, PoolStats, Row};

/// From the text of a statement to the one that is run in its place.
pub(crate) type Alter = Arc<dyn Fn(&'static str) -> &'static str + Send + Sync>;

pub(crate) struct Altered<B> {
    pub(crate) alter: Alter,
    pub(crate) inner: B,
}

impl<B> Altered<B> {
    fn statement(&self, statement: Statement) -> Statement {
        Statement { sql: (self.alter)(statement.sql), ..statement }
    }
}

#[async_trait]
impl Backend for Altered<Arc<dyn Backend>> {
    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    async fn execute(&self, statement: Statement) -> Result<u64, Error> {
        self.inner.execute(self.statement(statement)).await
    }

    async fn fetch_all(&self, statement: Statement) -> Result<Vec<Row>, Error> {
        self.inner.fetch_all(self.statement(statement)).await
    }

    async fn fetch_optional(&self, statement: Statement) -> Result<Option<Row>, Error> {
        self.inner.fetch_optional(self.statement(statement)).await
    }

    async fn begin(&self) -> Result<Box<dyn TransactionBackend>, Error> {
        Ok(Box::new(Altered { alter: Arc::clone(&self.alter), inner: self.inner.begin().await? }))
    }

    async fn ping(&self) -> Result<(), Error> {
        self.inner.ping().await
    }

    fn stats(&self) -> Vec<PoolStats> {
        self.inner.stats()
    }

    async fn migrate(&self, migrations: &[Migration]) -> Result<Applied, Error> {
        self.inner.migrate(migrations).await
    }

    async fn recorded_migrations(&self) -> Result<Vec<RecordedMigration>, Error> {
        self.inner.recorded_migrations().await
    }

    fn primary(&self) -> Option<Arc<dyn Backend>> {
        let inner = self.inner.primary()?;
        Some(Arc::new(Self { alter: Arc::clone(&self.alter), inner }))
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl TransactionBackend for Altered<Box<dyn TransactionBackend>> {
    async fn execute(&mut self, statement: Statement) -> Result<u64, Error> {
        let statement = self.statement(statement);
        self.inner.execute(statement).await
    }

    async fn fetch_all(&mut self, statement: Statement) -> Result<Vec<Row>, Error> {
        let statement = self.statement(statement);
        self.inner.fetch_all(statement).await
    }

    async fn fetch_optional(&mut self, statement: Statement) -> Result<Option<Row>, Error> {
        let statement = self.statement(statement);
        self.inner.fetch_optional(statement).await
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        self.inner.commit().await
    }

    async fn rollback(self: Box<Self>) -> Result<(), Error> {
        self.inner.rollback().await
    }
}
