//! Migrations: numbered SQL scripts compiled into the binary.

use std::fmt;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, MigrationType};

use crate::backend::Statement;
use crate::pool::{Connection, Lease};
use crate::{Dialect, Error, MigrationError};

/// The driver's own table, so that its command-line tool reads the same history.
const TABLE: &str = "_sqlx_migrations";

/// One step of the schema. Its version, name and text must never change once it has shipped.
#[derive(Clone, Debug)]
pub struct Migration {
    pub(crate) version: i64,
    pub(crate) name: &'static str,
    sql: &'static str,
    postgres: Option<&'static str>,
    mysql: Option<&'static str>,
}

impl Migration {
    /// A script of one or more statements, usually `include_str!("../migrations/0001_users.sql")`.
    pub const fn sql(version: i64, name: &'static str, sql: &'static str) -> Self {
        Self { version, name, sql, postgres: None, mysql: None }
    }

    /// Another script for one dialect, where the common one does not do.
    ///
    /// ```
    /// use mainstay_sql::{Dialect, Migration};
    /// let files = Migration::sql(1, "files", "CREATE TABLE files (body BLOB)")
    ///     .on(Dialect::Postgres, "CREATE TABLE files (body BYTEA)")
    ///     .on(Dialect::Mysql, "CREATE TABLE files (body LONGBLOB)");
    /// ```
    #[must_use]
    pub const fn on(mut self, dialect: Dialect, sql: &'static str) -> Self {
        match dialect {
            Dialect::Sqlite => self.sql = sql,
            Dialect::Postgres => self.postgres = Some(sql),
            Dialect::Mysql => self.mysql = Some(sql),
        }
        self
    }

    fn text(&self, dialect: Dialect) -> &'static str {
        let own = match dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => self.postgres,
            Dialect::Mysql => self.mysql,
        };
        own.unwrap_or(self.sql)
    }

    /// The driver's form, which carries the checksum that all of the driver's tools agree on.
    fn for_driver(&self, dialect: Dialect) -> sqlx::migrate::Migration {
        let sql = self.text(dialect).into_sql_str();
        sqlx::migrate::Migration::new(self.version, self.name.into(), MigrationType::Simple, sql, false)
    }
}

/// The first version that no service uses for its own.
const EVENTS: i64 = 1_000_000_001;
const SESSIONS: i64 = 1_000_000_101;

/// The migrations of a binary.
#[derive(Clone, Debug)]
pub struct Migrations(Vec<Migration>);

impl Migrations {
    /// Collects migrations in any order; they run by version.
    pub fn new(migrations: impl IntoIterator<Item = Migration>) -> Self {
        let mut migrations: Vec<_> = migrations.into_iter().collect();
        migrations.sort_by_key(|migration| migration.version);
        Self(migrations)
    }

    /// The same, with the tables that [events](crate::event), the [outbox](crate::outbox) and the
    /// [inbox](crate::inbox) need, under the versions from 1,000,000,001 on, which are theirs.
    #[must_use]
    pub fn with_events(self) -> Self {
        Self::new(self.0.into_iter().chain([
            crate::event::migration(EVENTS),
            crate::outbox::migration(EVENTS + 1),
            crate::inbox::migration(EVENTS + 2),
        ]))
    }

    /// The same, with the table of [sessions](crate::session), under the version 1,000,000,101.
    #[must_use]
    pub fn with_sessions(self) -> Self {
        Self::new(self.0.into_iter().chain([crate::session::migration(SESSIONS)]))
    }

    pub(crate) fn checked(&self) -> Result<&[Migration], Error> {
        match self.0.windows(2).find(|pair| pair[0].version == pair[1].version) {
            Some([first, second]) => Err(MigrationError::Duplicate {
                version: first.version,
                first: first.name,
                second: second.name,
            }
            .into()),
            _ => Ok(&self.0),
        }
    }
}

/// What a run of [`Database::migrate`](crate::Database::migrate) did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Versions this call applied, in order; empty if the schema was up to date.
    pub versions: Vec<i64>,
}

/// Where one migration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its version.
    pub version: i64,
    /// Its name in this binary, or as recorded in the database.
    pub name: String,
    /// Its state.
    pub state: MigrationState,
}

/// See [`MigrationStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MigrationState {
    /// In the database, with the text of this binary.
    Applied,
    /// Only in this binary; the next run applies it.
    Pending,
    /// In both, with different texts.
    Changed,
    /// Only in the database: this binary is older than the schema.
    Missing,
    /// Applied in part.
    Dirty,
}

impl fmt::Display for MigrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Dirty => "dirty",
        })
    }
}

/// A row of the migration table.
pub(crate) struct RecordedMigration {
    pub(crate) version: i64,
    pub(crate) name: String,
    pub(crate) checksum: Vec<u8>,
    pub(crate) success: bool,
}

impl RecordedMigration {
    fn state(&self, known: Option<&Migration>, dialect: Dialect) -> MigrationState {
        match known {
            _ if !self.success => MigrationState::Dirty,
            None => MigrationState::Missing,
            Some(known) if *known.for_driver(dialect).checksum != self.checksum => MigrationState::Changed,
            Some(_) => MigrationState::Applied,
        }
    }
}

/// Merges both sides, in order of version.
pub(crate) fn compare(
    known: &[Migration],
    recorded: Vec<RecordedMigration>,
    dialect: Dialect,
) -> Vec<MigrationStatus> {
    let pending =
        known.iter().filter(|migration| recorded.iter().all(|row| row.version != migration.version));
    let mut all: Vec<_> = pending
        .map(|migration| MigrationStatus {
            version: migration.version,
            name: migration.name.to_owned(),
            state: MigrationState::Pending,
        })
        .collect();
    all.extend(recorded.into_iter().map(|row| {
        let state = row.state(known.iter().find(|migration| migration.version == row.version), dialect);
        MigrationStatus { version: row.version, name: row.name, state }
    }));
    all.sort_by_key(|status| status.version);
    all
}

/// The first reason, in order of version, not to migrate at all.
fn refusal(known: &[Migration], recorded: &[RecordedMigration], dialect: Dialect) -> Option<MigrationError> {
    recorded.iter().find_map(|row| {
        let migration = known.iter().find(|migration| migration.version == row.version);
        let (version, name) = (row.version, row.name.clone());
        match row.state(migration, dialect) {
            MigrationState::Dirty => Some(MigrationError::Dirty { version, name }),
            MigrationState::Missing => {
                let newest_known = known.last().map_or(0, |newest| newest.version);
                Some(MigrationError::Missing { version, name, newest_known })
            }
            MigrationState::Changed => {
                migration.map(|known| MigrationError::Changed { version, name: known.name })
            }
            MigrationState::Applied | MigrationState::Pending => None,
        }
    })
}

/// Applies what is missing; to be called under the lock of the store. Input is sorted and checked.
pub(crate) async fn apply_missing<C: Connection>(
    lease: &mut Lease<C>,
    migrations: &[Migration],
) -> Result<Applied, Error> {
    let before = recorded(lease).await?;
    if let Some(refusal) = refusal(migrations, &before, C::DIALECT) {
        return Err(refusal.into());
    }
    let pending: Vec<_> =
        migrations.iter().filter(|known| before.iter().all(|row| row.version != known.version)).collect();
    if !pending.is_empty() {
        let prepared = lease.driver(async |raw| raw.ensure_migrations_table(TABLE).await).await;
        prepared.map_err(|error| explain(lease, error))?;
    }
    for migration in &pending {
        apply(lease, migration).await?;
        tracing::info!(target: "mainstay_sql", version = migration.version, name = migration.name, "migrated");
    }
    Ok(Applied { versions: pending.iter().map(|migration| migration.version).collect() })
}

async fn apply<C: Connection>(lease: &mut Lease<C>, migration: &Migration) -> Result<(), Error> {
    let script = migration.for_driver(C::DIALECT);
    let applied = lease.driver(async |raw| raw.apply(TABLE, &script).await).await;
    let Err(error) = applied else { return Ok(()) };
    let (version, name) = (migration.version, migration.name);
    let of_script = matches!(error, MigrateError::ExecuteMigration(..));
    match explain(lease, error) {
        Error::Query { reason, .. } | Error::Conflict { constraint: reason } if of_script => {
            // Where a change of the schema ends the transaction, the note that it was begun is kept.
            let begun = recorded(lease).await.is_ok_and(|all| all.iter().any(|row| row.version == version));
            Err(if begun {
                MigrationError::Partial { version, name, reason }.into()
            } else {
                MigrationError::Failed { version, name, reason }.into()
            })
        }
        other => Err(other),
    }
}

/// What the database says was applied; empty if nothing ever was.
pub(crate) async fn recorded<C: Connection>(lease: &mut Lease<C>) -> Result<Vec<RecordedMigration>, Error> {
    if lease.fetch_optional(&Statement::new(C::FIND_HISTORY)).await?.is_none() {
        return Ok(Vec::new());
    }
    let all = "SELECT version, description, checksum, success FROM _sqlx_migrations ORDER BY version";
    let rows = lease.fetch_all(&Statement::new(all)).await?;
    let row = |row: &crate::Row| {
        Ok(RecordedMigration {
            version: row.get("version")?,
            name: row.get("description")?,
            checksum: row.get("checksum")?,
            success: row.get("success")?,
        })
    };
    rows.iter().map(row).collect()
}

fn explain<C: Connection>(lease: &Lease<C>, error: MigrateError) -> Error {
    match error {
        MigrateError::ExecuteMigration(error, _) | MigrateError::Execute(error) => {
            C::translate(error, lease.target())
        }
        other => Error::Query { reason: other.to_string(), source: Some(Box::new(other)) },
    }
}
