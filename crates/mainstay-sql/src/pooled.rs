//! The backend over a driver's pools: who reads where, and what a transaction is.

use std::sync::Arc;

use async_trait::async_trait;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use mainstay_core::task::TaskGroup;

use crate::backend::{Backend, Statement, TransactionBackend};
use crate::migrate::{self, Applied, Migration, RecordedMigration};
use crate::observe::Recorder;
use crate::pool::{Connection, Lease, Pool};
use crate::{Dialect, Error, Options, PoolStats, Row};

pub(crate) struct Pooled<C: Connection> {
    writer: Arc<Pool<C>>,
    /// The writer itself where one pool serves both.
    reader: Arc<Pool<C>>,
    recorder: Arc<Recorder>,
    /// Close idle connections of servers as long as the pools are in use.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    tasks: Arc<TaskGroup>,
}

impl<C: Connection> Pooled<C> {
    pub(crate) fn new(writer: Arc<Pool<C>>, reader: Arc<Pool<C>>, options: &Options) -> Self {
        let recorder = Recorder {
            observer: options.observer.clone(),
            slow_query: options.slow_query,
            statement_timeout: options.statement_timeout,
        };
        Self {
            writer,
            reader,
            recorder: Arc::new(recorder),
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            tasks: Arc::new(TaskGroup::new()),
        }
    }

    /// One pool for everything at a server, and one for reads where another follows it.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) async fn at_server(
        target: C::Target,
        replica: Option<C::Target>,
        options: &Options,
    ) -> Result<Self, Error> {
        let primary = Pool::new("primary", Arc::new(target), options.into());
        prove(&primary).await?;
        let replica = replica.map(|target| Pool::new("replica", Arc::new(target), options.into()));
        if let Some(replica) = &replica
            && let Err(error) = prove(replica).await
        {
            // Without it there are no reads that may be behind, and everything else: no reason not to start.
            tracing::warn!(target: "mainstay_sql", %error, "the server to read from does not answer; reads fail until it does");
        }
        let reader = Arc::clone(replica.as_ref().unwrap_or(&primary));
        let this = Self::new(primary, reader, options);
        this.writer.tend(&this.tasks);
        if let Some(replica) = replica {
            replica.tend(&this.tasks);
        }
        Ok(this)
    }
}

/// Proves that the store can be reached.
#[cfg(any(feature = "postgres", feature = "mysql"))]
async fn prove<C: Connection>(pool: &Arc<Pool<C>>) -> Result<(), Error> {
    drop(pool.acquire().await?);
    pool.open_minimum().await
}

#[async_trait]
impl<C: Connection> Backend for Pooled<C> {
    fn dialect(&self) -> Dialect {
        C::DIALECT
    }

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
        let mut lease = self.writer.acquire().await?;
        let begin = Statement::new(C::BEGIN);
        self.recorder.statement(&begin, lease.control(C::BEGIN, true)).await?;
        Ok(Box::new(PooledTransaction { lease, recorder: Arc::clone(&self.recorder) }))
    }

    async fn ping(&self) -> Result<(), Error> {
        if let Some(primary) = self.primary() {
            primary.ping().await?;
        }
        self.fetch_optional(Statement::new(C::PING)).await.map(|_| ())
    }

    fn stats(&self) -> Vec<PoolStats> {
        let mut stats = vec![self.writer.stats()];
        if !Arc::ptr_eq(&self.writer, &self.reader) {
            stats.push(self.reader.stats());
        }
        stats
    }

    async fn migrate(&self, migrations: &[Migration]) -> Result<Applied, Error> {
        C::migrate(&self.writer, migrations).await
    }

    async fn recorded_migrations(&self) -> Result<Vec<RecordedMigration>, Error> {
        migrate::recorded(&mut self.writer.acquire().await?).await
    }

    fn primary(&self) -> Option<Arc<dyn Backend>> {
        // SQLite has a pool for reads as well, which is never behind.
        if C::DIALECT == Dialect::Sqlite || Arc::ptr_eq(&self.writer, &self.reader) {
            return None;
        }
        Some(Arc::new(Self {
            writer: Arc::clone(&self.writer),
            reader: Arc::clone(&self.writer),
            recorder: Arc::clone(&self.recorder),
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            tasks: Arc::clone(&self.tasks),
        }))
    }

    async fn close(&self) {
        // Readers first: the last connection to leave a SQLite file folds the log back into it.
        self.reader.close().await;
        self.writer.close().await;
    }
}

struct PooledTransaction<C: Connection> {
    lease: Lease<C>,
    recorder: Arc<Recorder>,
}

impl<C: Connection> PooledTransaction<C> {
    async fn end(mut self, sql: &'static str) -> Result<(), Error> {
        let end = Statement::new(sql);
        self.recorder.statement(&end, self.lease.control(sql, false)).await
    }
}

#[async_trait]
impl<C: Connection> TransactionBackend for PooledTransaction<C> {
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
