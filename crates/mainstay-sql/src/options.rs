//! How to reach a database and how much of it to use.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{Error, Observer};

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    SqliteFile(PathBuf),
    SqliteMemory,
}

/// How hard SQLite pushes a commit to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Synchronous {
    /// A power cut may lose the last commits, never consistency; a crashed process loses nothing.
    #[default]
    Normal,
    /// Every commit survives a power cut; each pays for a disk flush.
    Full,
}

/// Options of a [`Database`](crate::Database): a location and complete defaults.
///
/// ```
/// use std::time::Duration;
/// use mainstay_sql::Options;
/// let options = Options::from_url("sqlite://data/users.db")?.pool_max(4).acquire_timeout(Duration::from_secs(2));
/// assert!(Options::from_url("oracle://db").is_err());
/// # Ok::<(), mainstay_sql::Error>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) location: Location,
    pub(crate) pool_max: usize,
    pub(crate) pool_min: usize,
    pub(crate) acquire_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) slow_query: Duration,
    pub(crate) synchronous: Synchronous,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl Options {
    fn at(location: Location) -> Self {
        Self {
            location,
            pool_max: 10,
            pool_min: 0,
            acquire_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            slow_query: Duration::from_secs(1),
            synchronous: Synchronous::default(),
            observer: None,
        }
    }

    /// A SQLite file; it and its directory are created if missing.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::at(Location::SqliteFile(path.into()))
    }

    /// A private SQLite database in memory, on one connection, gone when the last handle is dropped.
    pub fn sqlite_in_memory() -> Self {
        Self::at(Location::SqliteMemory)
    }

    /// Reads a `DATABASE_URL`: `sqlite://data/x.db` (relative to the working directory),
    /// `sqlite:///var/lib/x.db` (absolute) or `sqlite::memory:`. The path is taken as it is written,
    /// without percent-decoding.
    ///
    /// # Errors
    /// [`Error::Options`] for another scheme, an empty path or query parameters. The text never repeats
    /// the URL, which may hold a password.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Err(Error::Options { reason });
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        match scheme {
            "sqlite" => {}
            "postgres" | "postgresql" | "mysql" | "mariadb" => {
                return refuse(format!("{scheme}:// is not in this build yet; use sqlite://path/to/file.db"));
            }
            _ => return refuse("expected a URL such as sqlite://data/app.db or sqlite::memory:".to_owned()),
        }
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path == ":memory:" {
            return Ok(Self::sqlite_in_memory());
        }
        if path.is_empty() {
            return refuse("sqlite:// needs a path, as in sqlite://data/app.db".to_owned());
        }
        if path.contains('?') {
            return refuse("parameters after ? are not understood; use the DB_* settings".to_owned());
        }
        Ok(Self::sqlite(path))
    }

    /// Most connections for reading (`DB_POOL_MAX`, default 10, at least 1). SQLite adds one writer.
    #[must_use]
    pub fn pool_max(mut self, connections: usize) -> Self {
        self.pool_max = connections.max(1);
        self
    }

    /// Read connections kept open when idle (`DB_POOL_MIN`, default 0).
    #[must_use]
    pub fn pool_min(mut self, connections: usize) -> Self {
        self.pool_min = connections;
        self
    }

    /// Longest wait for a connection (`DB_POOL_ACQUIRE`, default 30 s).
    #[must_use]
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// A read connection idle for longer is closed at the next use of the pool (`DB_POOL_IDLE`, 10 s).
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Longest run of one statement before it is interrupted (default 30 s). Migrations are exempt.
    #[must_use]
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// Statements that take at least this long are logged, without their values (default 1 s).
    #[must_use]
    pub fn slow_query(mut self, threshold: Duration) -> Self {
        self.slow_query = threshold;
        self
    }

    /// Durability of a commit on SQLite (default [`Synchronous::Normal`]).
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// Who is told about every statement.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("location", &self.location)
            .field("pool_max", &self.pool_max)
            .field("pool_min", &self.pool_min)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("slow_query", &self.slow_query)
            .field("synchronous", &self.synchronous)
            .finish_non_exhaustive()
    }
}
