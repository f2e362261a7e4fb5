//! How to reach a database and how much of it to use.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::secret::Secret;

use crate::server::{Server, Tls};
use crate::{Error, Observer};

const POSTGRES_PORT: u16 = 5432;
const MYSQL_PORT: u16 = 3306;

/// More than any server takes, and not too many to count.
const MOST_CONNECTIONS: usize = 1_000_000;
/// Longer than anybody waits, and not too long for a clock.
const FOREVER: Duration = Duration::from_hours(24 * 365 * 100);

/// Where the database is.
#[derive(Clone, Debug)]
pub(crate) enum Location {
    SqliteFile(PathBuf),
    SqliteMemory,
    Postgres(Server),
    Mysql(Server),
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
/// let options = Options::from_url("postgres://app:secret@db.example.org/users?sslmode=verify-full")?;
/// assert!(!format!("{options:?}").contains("secret"));
/// assert!(Options::from_url("oracle://db").is_err());
/// # Ok::<(), mainstay_sql::Error>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) location: Location,
    pub(crate) replica: Option<Location>,
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
            replica: None,
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

    /// A PostgreSQL server (from 13 on) at its usual port; needs the feature `postgres`.
    pub fn postgres(host: impl Into<String>, database: impl Into<String>) -> Self {
        Self::at(Location::Postgres(Server::new(host.into(), POSTGRES_PORT, database.into())))
    }

    /// A MySQL (from 8 on) or MariaDB server at its usual port; needs the feature `mysql`.
    pub fn mysql(host: impl Into<String>, database: impl Into<String>) -> Self {
        Self::at(Location::Mysql(Server::new(host.into(), MYSQL_PORT, database.into())))
    }

    /// Reads a `DATABASE_URL`: `sqlite://data/x.db` (relative to the working directory),
    /// `sqlite:///var/lib/x.db` (absolute) or `sqlite::memory:`, whose path is taken as it is written;
    /// `postgres://user:password@host:port/name`, `mysql://…` or `mariadb://…`, percent-encoded, with
    /// `?sslmode=` (see [`Tls`]) and `&sslrootcert=` (a PEM file) if needed.
    ///
    /// # Errors
    /// [`Error::Options`] for another scheme, a missing part or parameters that are not understood. The text
    /// never repeats the URL, which may hold a password.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let refuse = |reason: &str| Err(Error::Options { reason: reason.to_owned() });
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        match scheme {
            "sqlite" => {}
            "postgres" | "postgresql" => {
                return Ok(Self::at(Location::Postgres(Server::parse(url, POSTGRES_PORT)?)));
            }
            "mysql" | "mariadb" => return Ok(Self::at(Location::Mysql(Server::parse(url, MYSQL_PORT)?))),
            _ => {
                return refuse(
                    "expected a URL such as sqlite://data/app.db, sqlite::memory:, postgres://user@host/name \
                     or mysql://user@host/name",
                );
            }
        }
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path == ":memory:" {
            return Ok(Self::sqlite_in_memory());
        }
        if path.is_empty() {
            return refuse("sqlite:// needs a path, as in sqlite://data/app.db");
        }
        if path.contains('?') {
            return refuse("parameters after ? are not understood; use the DB_* settings");
        }
        Ok(Self::sqlite(path))
    }

    /// A server that follows this one (`DATABASE_READ_URL`), of the same kind, in a pool of its own and with the same
    /// settings: `fetch_*` outside a transaction reads there. What was just written may not be found yet, so read it in
    /// the transaction or through [`Database::primary`](crate::Database::primary). Mainstay's own tables always are.
    /// While it is down, at the start or later, those reads fail with [`Error::Unavailable`] and everything else goes on.
    ///
    /// # Errors
    /// [`Error::Options`] as [`Options::from_url`], and for SQLite or another kind of server.
    pub fn read_from(mut self, url: &str) -> Result<Self, Error> {
        let named = |error| match error {
            Error::Options { reason } => Error::Options { reason: format!("DATABASE_READ_URL: {reason}") },
            other => other,
        };
        let replica = Self::from_url(url).map_err(named)?.location;
        if !matches!(
            (&self.location, &replica),
            (Location::Postgres(_), Location::Postgres(_)) | (Location::Mysql(_), Location::Mysql(_))
        ) {
            let reason = "DATABASE_READ_URL: a database to read from is a server of the same kind as the one to write to";
            return Err(Error::Options { reason: reason.to_owned() });
        }
        self.replica = Some(replica);
        Ok(self)
    }

    /// Where the database is, for people: a path, `memory`, or a server without the password.
    pub fn place(&self) -> String {
        match &self.location {
            Location::SqliteFile(path) => path.display().to_string(),
            Location::SqliteMemory => "memory".to_owned(),
            Location::Postgres(server) => format!("PostgreSQL at {server}"),
            Location::Mysql(server) => format!("MySQL at {server}"),
        }
    }

    /// The server's port (`DB_PORT`). Nothing to SQLite, as the other settings of a server.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.server(|server| server.port = port)
    }

    /// Who we are at the server (`DB_USER`).
    #[must_use]
    pub fn user(self, user: impl Into<String>) -> Self {
        self.server(|server| server.user = Some(user.into()))
    }

    /// How we prove it (`DB_PASSWORD`).
    #[must_use]
    pub fn password(self, password: Secret<String>) -> Self {
        self.server(|server| server.password = Some(password))
    }

    /// How the way to the server is secured (default [`Tls::Prefer`]).
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        self.server(|server| server.tls = tls)
    }

    /// A PEM file of the authorities that [`Tls::VerifyCa`] and [`Tls::VerifyFull`] trust.
    #[must_use]
    pub fn root_certificate(self, file: impl Into<PathBuf>) -> Self {
        self.server(|server| server.root_certificate = Some(file.into()))
    }

    fn server(mut self, change: impl FnOnce(&mut Server)) -> Self {
        match &mut self.location {
            Location::Postgres(server) | Location::Mysql(server) => change(server),
            Location::SqliteFile(_) | Location::SqliteMemory => {}
        }
        self
    }

    /// Most connections (`DB_POOL_MAX`, default 10, at least 1); on SQLite for reading, beside its one writer.
    #[must_use]
    pub fn pool_max(mut self, connections: usize) -> Self {
        self.pool_max = connections.clamp(1, MOST_CONNECTIONS);
        self
    }

    /// Connections kept open when idle (`DB_POOL_MIN`, default 0).
    #[must_use]
    pub fn pool_min(mut self, connections: usize) -> Self {
        self.pool_min = connections;
        self
    }

    /// Longest wait for a connection (`DB_POOL_ACQUIRE`, default 30 s).
    #[must_use]
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout.min(FOREVER);
        self
    }

    /// A connection idle for longer is closed at the next use of the pool (`DB_POOL_IDLE`, 10 s).
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
            .field("replica", &self.replica)
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
