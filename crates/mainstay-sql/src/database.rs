//! The handle a service holds, and the statement it builds.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::altered::Altered;
use crate::backend::{Backend, Statement};
use crate::event::Carrier;
use crate::migrate::{self, Applied, MigrationStatus, Migrations};
#[cfg(feature = "mysql")]
use crate::mysql;
use crate::options::Location;
#[cfg(feature = "postgres")]
use crate::postgres;
use crate::sqlite;
use crate::{Dialect, Error, Options, PoolStats, Row, Transaction, Value};

/// A database. Clones share the same pools; the last one dropped closes them.
#[derive(Clone)]
pub struct Database {
    backend: Arc<dyn Backend>,
    /// Where events go that are published in its transactions.
    carrier: Arc<Mutex<Option<Carrier>>>,
}

impl Database {
    /// Opens the database and proves that it can be read and written.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Corrupt`], [`Error::Full`] or [`Error::Unavailable`], with the path
    /// and the remedy. Bounded by the acquire timeout; dropping the future leaves nothing open.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let backend: Arc<dyn Backend> = match options.location.clone() {
            Location::SqliteFile(path) => Arc::new(sqlite::open_file(&path, &options).await?),
            Location::SqliteMemory => Arc::new(sqlite::open_memory(&options).await?),
            #[cfg(feature = "postgres")]
            Location::Postgres(server) => Arc::new(postgres::open(&server, &options).await?),
            #[cfg(feature = "mysql")]
            Location::Mysql(server) => Arc::new(mysql::open(&server, &options).await?),
            #[cfg(not(feature = "postgres"))]
            Location::Postgres(_) => return Err(not_built_in(Dialect::Postgres, "postgres")),
            #[cfg(not(feature = "mysql"))]
            Location::Mysql(_) => return Err(not_built_in(Dialect::Mysql, "mysql")),
        };
        Ok(Self { backend, carrier: Arc::default() })
    }

    /// Whose SQL it takes, for the statements that differ.
    pub fn dialect(&self) -> Dialect {
        self.backend.dialect()
    }

    /// The same database, which runs other statements than it is given: to seed bugs in tests.
    #[doc(hidden)]
    #[must_use]
    pub fn altered(&self, alter: impl Fn(&'static str) -> &'static str + Send + Sync + 'static) -> Self {
        let backend = Altered { alter: Arc::new(alter), inner: Arc::clone(&self.backend) };
        Self { backend: Arc::new(backend), carrier: Arc::clone(&self.carrier) }
    }

    /// The same database, whose reads see every commit that returned before they started, although a server that may
    /// be behind is [read from](Options::read_from) otherwise.
    #[must_use]
    pub fn primary(&self) -> Self {
        match self.backend.primary() {
            Some(backend) => Self { backend, carrier: Arc::clone(&self.carrier) },
            None => self.clone(),
        }
    }

    /// Starts a statement with `?` placeholders. Reads (`fetch_*`) run on the read pool and cannot write;
    /// [`Query::execute`] runs on the writer.
    pub fn query(&self, sql: &'static str) -> Query<'_> {
        Query::new(self, Statement::new(sql))
    }

    /// Begins a transaction that may write. On SQLite it takes the write lock at once
    /// (`BEGIN IMMEDIATE`), so it cannot fail half-way for want of it; keep it short.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process keeps the lock, [`Error::Unavailable`] if this one does for
    /// longer than the acquire timeout.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        let carrier = self.carrier.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Transaction::new(self.backend.begin().await?, self.dialect(), carrier))
    }

    /// From now on events that are published in transactions go there.
    pub(crate) fn carry(&self, carrier: Carrier) {
        *self.carrier.lock().unwrap_or_else(PoisonError::into_inner) = Some(carrier);
    }

    /// Answers once the database does, and the server that is [read from](Options::read_from) too; for health checks.
    ///
    /// # Errors
    /// Whatever keeps a read from working.
    pub async fn ping(&self) -> Result<(), Error> {
        self.backend.ping().await
    }

    /// The pools at this moment. Cheap; takes no connection.
    pub fn stats(&self) -> Vec<PoolStats> {
        self.backend.stats()
    }

    /// Applies the migrations that are missing, in order of version, each in a transaction of its own.
    /// Concurrent callers, in this process or others, wait up to 60 s for the one that migrates.
    /// Dropping the future rolls the running migration back and frees the lock.
    ///
    /// # Errors
    /// [`Error::Migration`] in plain words, or what kept the database from answering.
    pub async fn migrate(&self, migrations: &Migrations) -> Result<Applied, Error> {
        self.backend.migrate(migrations.checked()?).await
    }

    /// Every migration known to the binary or to the database, in order of version. Changes nothing.
    ///
    /// # Errors
    /// What kept the database from answering.
    pub async fn migration_status(&self, migrations: &Migrations) -> Result<Vec<MigrationStatus>, Error> {
        let recorded = self.backend.recorded_migrations().await?;
        Ok(migrate::compare(migrations.checked()?, recorded, self.dialect()))
    }

    /// Waits for borrowed connections, at most the acquire timeout, then closes all of them. Later calls
    /// fail with [`Error::Unavailable`].
    pub async fn close(&self) {
        self.backend.close().await;
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("pools", &self.stats()).finish()
    }
}

pub(crate) enum Target<'a> {
    Database(&'a dyn Backend),
    Transaction(&'a mut Transaction),
}

/// A statement being built. Nothing happens until one of its `async` methods is awaited; dropping that
/// future interrupts the statement and gives the connection back clean.
#[must_use = "a query does nothing until it is executed or fetched"]
pub struct Query<'a> {
    target: Target<'a>,
    statement: Statement,
}

impl<'a> Query<'a> {
    pub(crate) fn new(db: &'a Database, statement: Statement) -> Self {
        Self { target: Target::Database(&*db.backend), statement }
    }

    pub(crate) fn in_transaction(tx: &'a mut Transaction, sql: &'static str) -> Self {
        Self { target: Target::Transaction(tx), statement: Statement::new(sql) }
    }

    /// Binds the next placeholder.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.statement.values.push(value.into());
        self
    }

    /// Names the statement for metrics and logs, as in `users.get`; the default is its verb.
    pub fn label(mut self, label: &'static str) -> Self {
        self.statement.label = label;
        self
    }

    /// Runs it and answers the number of rows inserted, updated or deleted.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Conflict`] names the unique columns.
    pub async fn execute(mut self) -> Result<u64, Error> {
        self.admit(false)?;
        match self.target {
            Target::Database(backend) => backend.execute(self.statement).await,
            Target::Transaction(tx) => tx.execute(self.statement).await,
        }
    }

    /// What is refused here fails its transaction as well as what the database refuses.
    fn admit(&mut self, read: bool) -> Result<(), Error> {
        let admitted = check(&self.statement).and_then(|()| if read { self.reads() } else { Ok(()) });
        if let (Err(_), Target::Transaction(tx)) = (&admitted, &mut self.target) {
            tx.fail();
        }
        admitted
    }

    /// A read connection of SQLite cannot write; where one pool serves both, this stands in for it.
    fn reads(&self) -> Result<(), Error> {
        let verb = self.statement.sql.split_whitespace().next().unwrap_or_default();
        let writes =
            ["INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"].iter().any(|w| verb.eq_ignore_ascii_case(w));
        if writes && matches!(self.target, Target::Database(_)) {
            return Err(Error::query(
                "a read outside a transaction cannot write; begin one to fetch what was written",
            ));
        }
        Ok(())
    }

    /// All rows. They are held in memory: put a `LIMIT` into the statement.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn fetch_all(mut self) -> Result<Vec<Row>, Error> {
        self.admit(true)?;
        match self.target {
            Target::Database(backend) => backend.fetch_all(self.statement).await,
            Target::Transaction(tx) => tx.fetch_all(self.statement).await,
        }
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn fetch_optional(mut self) -> Result<Option<Row>, Error> {
        self.admit(true)?;
        match self.target {
            Target::Database(backend) => backend.fetch_optional(self.statement).await,
            Target::Transaction(tx) => tx.fetch_optional(self.statement).await,
        }
    }

    /// The first row.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none; see [`Error`].
    pub async fn fetch_one(self) -> Result<Row, Error> {
        self.fetch_optional().await?.ok_or(Error::NotFound)
    }
}

#[cfg(not(all(feature = "postgres", feature = "mysql")))]
fn not_built_in(dialect: Dialect, feature: &str) -> Error {
    let reason = format!("{dialect} is not in this build; build with the cargo feature `{feature}`");
    Error::Options { reason }
}

fn check(statement: &Statement) -> Result<(), Error> {
    for (index, value) in statement.values.iter().enumerate() {
        if let Some(what) = value.unportable() {
            return Err(Error::query(format!(
                "parameter {} is {what}, which not every database can store",
                index + 1
            )));
        }
    }
    Ok(())
}
