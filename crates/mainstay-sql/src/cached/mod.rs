//! Results of queries, kept in a cache, and writes that take them away.
//!
//! # Promise
//! - One query for all who ask for the same result meanwhile, in the whole fleet if the cache is shared.
//! - After [`InvalidatingTransaction::commit`] has returned, nobody gets a result from before its commit under the tags it
//!   named: neither one that is kept nor one of a query that began before (its fill is refused, C2 and C3 of the
//!   [cache]). The invalidation follows the commit and precedes the answer to the writer.
//! - It also follows where the writer does not wait for it: a commit whose future was dropped goes on, its outcome is
//!   unknown, the cache's store is away. It is then repeated in the background until the store answers.
//! - Results are told apart by the statement's name and text and by its values, each with its type.
//!
//! # Not promised
//! - Between the commit and the invalidation (one round trip to the cache's store) others may read the old result.
//! - A query that reads from a *replica* may begin after the invalidation and still read what was before the
//!   write. The replica's lag is then the bound on staleness until the time to live ends; where a row has
//!   a version, keep it with `Cache::set_if_newer` instead.
//! - Writes past [`CachedQueries::begin`], by other programs say, take nothing away: the time to live is what bounds
//!   their staleness. So does a process that dies between its commit and its invalidation.
//! - A commit that ends in [`Error::Timeout`] may still happen, and after the invalidation: what was read in between
//!   is served until its time to live ends.
//! - Databases are not told apart: two behind one cache need statements of different names.
//!
//! # If the store is down
//! [`Degrade::Local`](mainstay_core::store::Degrade::Local): the database is asked, once for all who ask in this
//! process. Writes go on.
//!
//! # Defaults
//! Those of the cache and of its [`Policy`]: tags and times are given with each query.
//!
//! # Metrics
//! Those of the cache, and of the statements that are run.
//!
//! ```
//! use mainstay_core::{cache::{Cache, Ttl}, metrics::Metrics, time::Clock};
//! use mainstay_sql::{Database, Migration, Migrations, Options, cached::CachedQueries};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = Database::connect(Options::sqlite_in_memory()).await?;
//! # let sql = "CREATE TABLE users (name TEXT, role TEXT)";
//! # db.migrate(&Migrations::new([Migration::sql(1, "users", sql)])).await?;
//! # let cache = Cache::in_memory(Default::default(), &Metrics::new(), Clock::system());
//! let users = CachedQueries::new(db, cache);
//! let admins = || {
//!     users.query("users.by_role", "SELECT name FROM users WHERE role = ? ORDER BY name LIMIT 100").bind("admin")
//!         .fetch_all(Ttl::minutes(5).tag("users"), |row| row.get::<String>("name"))
//! };
//! assert!(admins().await?.is_empty());
//! let mut tx = users.begin(["users"]).await?;
//! tx.query("INSERT INTO users (name, role) VALUES (?, ?)").bind("Ada").bind("admin").execute().await?;
//! tx.commit().await?; // from here on nobody reads what was before
//! assert_eq!(*admins().await?, ["Ada"]);
//! # Ok(()) }
//! ```

mod key;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use mainstay_core::cache::{self, Cache, Cached, Policy};
use mainstay_core::key::Key;
use mainstay_core::task::TaskGroup;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::backend::Statement;
use crate::{Database, Error, Query, Row, Transaction, Value};

/// A database whose results are kept in a cache. Clones share both.
#[derive(Debug, Clone)]
pub struct CachedQueries {
    db: Database,
    cache: Cache,
    /// Commits, which go on when their caller leaves.
    commits: Arc<TaskGroup>,
}

impl CachedQueries {
    /// Keeps results of `db` in `cache`, read from its [primary](Database::primary): what is behind is not to be kept.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a handle is given away")]
    pub fn new(db: Database, cache: Cache) -> Self {
        Self { db: db.primary(), cache, commits: Arc::default() }
    }

    /// Starts a query, as [`Database::query`] does. `name` is its label in metrics and part of its key; results that
    /// are decoded in different ways need different names.
    pub fn query(&self, name: &'static str, sql: &'static str) -> CachedQuery<'_> {
        CachedQuery { queries: self, statement: Statement { label: name, ..Statement::new(sql) } }
    }

    /// Begins a transaction whose commit takes away all results that bear one of the `tags`.
    ///
    /// # Errors
    /// [`Error::Query`] for a tag that cannot be one; else as [`Database::begin`].
    pub async fn begin<T: Into<Box<str>>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Result<InvalidatingTransaction, Error> {
        let tags: Vec<Box<str>> = tags.into_iter().map(Into::into).collect();
        tags.iter().try_for_each(|tag| check_tag(tag))?;
        let (tx, cache, commits) = (self.db.begin().await?, self.cache.clone(), Arc::clone(&self.commits));
        Ok(InvalidatingTransaction { tx, cache, commits, tags })
    }
}

/// A query whose result is kept. Nothing happens until one of its `async` methods is awaited.
#[must_use = "a query does nothing until it is fetched"]
pub struct CachedQuery<'a> {
    queries: &'a CachedQueries,
    statement: Statement,
}

impl CachedQuery<'_> {
    /// Binds the next placeholder.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.statement.values.push(value.into());
        self
    }

    /// All rows, decoded and kept as `policy` says, under its tags. Put a `LIMIT` into the statement: a result that
    /// is too large for the cache is asked for each time.
    ///
    /// The query goes on in a task of the cache when this future is dropped.
    ///
    /// # Errors
    /// What the database or `decode` said, or [`Error::Timeout`] after the policy's hard timeout; shared by all who
    /// waited for it. Of the cache itself no error comes: the database is asked then.
    pub async fn fetch_all<T: Cached>(
        self,
        policy: impl Into<Policy>,
        decode: impl Fn(&Row) -> Result<T, Error> + Clone + Send + Sync + 'static,
    ) -> Result<Arc<Vec<T>>, Arc<Error>> {
        let fetch = move |db: Database, statement: Statement| {
            let decode = decode.clone();
            async move {
                let rows = Query::new(&db, statement).fetch_all().await?;
                rows.iter().map(&decode).collect::<Result<Vec<T>, Error>>().map(|rows| Some(Arc::new(rows)))
            }
        };
        let found = self.fetch("all", policy.into(), fetch).await?;
        Ok(found.unwrap_or_default())
    }

    /// The first row, if there is one; that there is none is kept for the policy's negative time to live.
    ///
    /// # Errors
    /// As [`fetch_all`](Self::fetch_all).
    pub async fn fetch_optional<T: Cached>(
        self,
        policy: impl Into<Policy>,
        decode: impl Fn(&Row) -> Result<T, Error> + Clone + Send + Sync + 'static,
    ) -> Result<Option<T>, Arc<Error>> {
        let fetch = move |db: Database, statement: Statement| {
            let decode = decode.clone();
            async move { Query::new(&db, statement).fetch_optional().await?.as_ref().map(&decode).transpose() }
        };
        self.fetch("optional", policy.into(), fetch).await
    }

    async fn fetch<T: Cached, Fut>(
        self,
        kind: &'static str,
        policy: Policy,
        fetch: impl Fn(Database, Statement) -> Fut + Clone + Send + 'static,
    ) -> Result<Option<T>, Arc<Error>>
    where
        Fut: Future<Output = Result<Option<T>, Error>> + Send + 'static,
    {
        let Self { queries: CachedQueries { db, cache, .. }, statement } = self;
        let key = key::of(kind, &statement);
        let (work, again) = ((fetch.clone(), db.clone(), statement.clone()), fetch);
        // A load is a task of the cache; what it logs belongs to the request that began it.
        let span = Span::current();
        let load = move || {
            let (fetch, db, statement) = work;
            async move { fetch(db, statement).await.map_err(|error| Failed(Arc::new(error))) }
                .instrument(span)
        };
        let error = match cache.get_or_load_optional(&key, policy, load).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        match (error.load_error::<Failed>(), &error) {
            (Some(Failed(error)), _) => Err(Arc::clone(error)),
            (None, cache::Error::LoadTimeout { after }) => Err(Arc::new(Error::Timeout { after: *after })),
            (None, cache::Error::LoadPanicked) => Err(Arc::new(Error::query("decoding a row panicked"))),
            // What is wrong is the cache, which nobody needs to read the database.
            (None, error) => {
                tracing::warn!(%error, statement = statement.label, "query answered without the cache");
                again(db.clone(), statement).await.map_err(Arc::new)
            }
        }
    }
}

/// A transaction whose commit invalidates. Use it as the [`Transaction`] that it is; drop it to roll back, which
/// takes nothing away.
#[derive(Debug)]
pub struct InvalidatingTransaction {
    tx: Transaction,
    cache: Cache,
    commits: Arc<TaskGroup>,
    tags: Vec<Box<str>>,
}

impl InvalidatingTransaction {
    /// A further tag whose results the commit takes away.
    ///
    /// # Errors
    /// [`Error::Query`] for a tag that cannot be one.
    pub fn invalidates(&mut self, tag: impl Into<Box<str>>) -> Result<(), Error> {
        let tag = tag.into();
        check_tag(&tag)?;
        self.tags.push(tag);
        Ok(())
    }

    /// Makes the effects permanent, and then takes away all results that bear one of the tags.
    ///
    /// If this future is dropped once it was polled, the commit goes on, and the tags are invalidated after it.
    /// That the cache could not be told yet is logged and no error: the write has happened.
    ///
    /// # Errors
    /// As [`Transaction::commit`]; the tags are invalidated then, too.
    pub async fn commit(self) -> Result<(), Error> {
        let Self { tx, cache, commits, tags } = self;
        // Owed from here on, whatever becomes of the commit and of us.
        let invalidation = cache.invalidation(tags).expect("each tag was checked");
        let (began, (tell, told)) = (Instant::now(), oneshot::channel());
        // A commit cannot be stopped. Were it left alone, the tags could be taken away before it has happened.
        let commit = async move {
            let outcome = tx.commit().await;
            if outcome.is_ok()
                && let Err(error) = invalidation.run().await
            {
                tracing::warn!(%error, "older results may be served until the cache's store is back");
            }
            let _ = tell.send(outcome); // whoever asked may have left
        };
        commits.spawn("commit", commit.instrument(Span::current()));
        // Without an answer only if it panicked or the runtime ends.
        told.await.unwrap_or_else(|_| Err(Error::Timeout { after: began.elapsed() }))
    }
}

impl Deref for InvalidatingTransaction {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.tx
    }
}

impl DerefMut for InvalidatingTransaction {
    fn deref_mut(&mut self) -> &mut Transaction {
        &mut self.tx
    }
}

fn check_tag(tag: &str) -> Result<(), Error> {
    Key::new(tag).map(drop).map_err(|error| Error::query(format!("tag: {error}")))
}

/// What the database said, to all who waited.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Failed(Arc<Error>);

impl fmt::Debug for CachedQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedQuery").field("name", &self.statement.label).finish_non_exhaustive()
    }
}
