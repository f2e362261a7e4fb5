//! What can go wrong, by what the caller would do about it.

use std::time::Duration;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a database call failed. The text is for operators: it names files and remedies, so do not show it
/// to clients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options make no sense; fix the configuration.
    #[error("database options: {reason}")]
    Options {
        /// What is wrong and what was expected.
        reason: String,
    },
    /// No connection: the store cannot be opened, the pool is exhausted or closed. Try again later.
    #[error("database unavailable: {reason}")]
    Unavailable {
        /// What was tried and, for an exhausted pool, its size, use and queue.
        reason: String,
    },
    /// Another process kept the write lock for longer than the busy timeout, or the server undid this for the sake of
    /// another transaction (a deadlock, a lost race). Try again, the whole transaction.
    #[error("database busy: {reason}")]
    Busy {
        /// The store's own words.
        reason: String,
    },
    /// The statement ran longer than the statement timeout, or the deadline around allows, and was interrupted. Outside a transaction
    /// the outcome of a write is unknown; inside one everything is rolled back.
    #[error("statement interrupted after {after:?} (statement timeout or deadline)")]
    Timeout {
        /// The time it had.
        after: Duration,
    },
    /// A unique or primary key already holds this value.
    #[error("already exists: {constraint}")]
    Conflict {
        /// The violated columns as `table.column[, table.column]`, or the constraint's name.
        constraint: String,
    },
    /// The file or its directory cannot be written; the server takes no writes.
    #[error("{place} cannot be written: {reason}; {remedy}")]
    ReadOnly {
        /// The database file or server.
        place: String,
        /// The operating system's or the store's own words.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The file is not a database or is damaged.
    #[error(
        "{place} is damaged or not a database ({reason}); restore it from a backup, or move it away to start empty"
    )]
    Corrupt {
        /// The database file or server.
        place: String,
        /// The store's own words.
        reason: String,
    },
    /// No space left for the database.
    #[error("no space left for {place}; free some space, nothing was written")]
    Full {
        /// The database file or server.
        place: String,
    },
    /// [`fetch_one`](crate::Query::fetch_one) found no row.
    #[error("no row found")]
    NotFound,
    /// A column is missing or does not hold the requested type.
    #[error("column `{column}`: {reason}")]
    Decode {
        /// The column's name.
        column: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// The statement itself is refused (syntax, missing table, foreign key, check, unportable value).
    #[error("statement failed: {reason}")]
    Query {
        /// The store's own words.
        reason: String,
        /// The driver's error, if it came from there.
        source: Option<Source>,
    },
    /// The schema could not be brought to the version of this binary.
    #[error(transparent)]
    Migration(#[from] MigrationError),
}

impl Error {
    /// Whether the same call may succeed if it is repeated unchanged later.
    ///
    /// True for [`Error::Unavailable`], [`Error::Busy`] and [`Error::Timeout`].
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Busy { .. } | Self::Timeout { .. })
    }

    pub(crate) fn query(reason: impl Into<String>) -> Self {
        Self::Query { reason: reason.into(), source: None }
    }

    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }
}

/// Why a migration run stopped. Nothing of the named migration was applied unless said otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// An applied migration's text differs from the one in this binary.
    #[error(
        "migration {version} `{name}` was changed after it had been applied; restore its original text and put the change into a new migration"
    )]
    Changed {
        /// Version of the migration.
        version: i64,
        /// Its name in this binary.
        name: &'static str,
    },
    /// The database has a migration that this binary does not know.
    #[error(
        "the database has migration {version} `{name}`, but this binary knows only up to {newest_known}; it is older than the database: deploy the newer binary"
    )]
    Missing {
        /// Version found in the database.
        version: i64,
        /// Its name, as recorded in the database.
        name: String,
        /// Newest version in this binary, 0 if it has none.
        newest_known: i64,
    },
    /// A migration stopped half-way on a store that cannot roll back schema changes.
    #[error(
        "migration {version} `{name}` was applied only in part; repair the schema by hand, then delete its row from `_sqlx_migrations`"
    )]
    Dirty {
        /// Version of the migration.
        version: i64,
        /// Its name, as recorded in the database.
        name: String,
    },
    /// A migration's SQL failed; it was rolled back.
    #[error("migration {version} `{name}` failed and was rolled back: {reason}")]
    Failed {
        /// Version of the migration.
        version: i64,
        /// Its name in this binary.
        name: &'static str,
        /// The store's own words.
        reason: String,
    },
    /// A migration's SQL failed on a store that cannot roll back schema changes (MySQL).
    #[error(
        "migration {version} `{name}` failed half-way: {reason}; what it did before is kept: repair the schema by hand, then delete its row from `_sqlx_migrations`"
    )]
    Partial {
        /// Version of the migration.
        version: i64,
        /// Its name in this binary.
        name: &'static str,
        /// The store's own words.
        reason: String,
    },
    /// Two migrations in this binary share a version.
    #[error(
        "migrations `{first}` and `{second}` both have version {version}; give one of them the next free number"
    )]
    Duplicate {
        /// The shared version.
        version: i64,
        /// Name of one.
        first: &'static str,
        /// Name of the other.
        second: &'static str,
    },
    /// Another process held the migration lock for too long.
    #[error("waited {waited:?} for another process to finish migrating ({lock}); look for a hung process")]
    Locked {
        /// How long this process waited.
        waited: Duration,
        /// What is held.
        lock: String,
    },
}
