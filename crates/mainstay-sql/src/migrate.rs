//! Migrations: numbered SQL scripts compiled into the binary.

use std::fmt;

use sqlx::SqlSafeStr;
use sqlx::migrate::MigrationType;

use crate::{Error, MigrationError};

/// One step of the schema. Its version, name and text must never change once it has shipped.
#[derive(Clone, Debug)]
pub struct Migration {
    pub(crate) version: i64,
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

impl Migration {
    /// A script of one or more statements, usually `include_str!("../migrations/0001_users.sql")`.
    pub const fn sql(version: i64, name: &'static str, sql: &'static str) -> Self {
        Self { version, name, sql }
    }

    /// The driver's form, which carries the checksum that all of the driver's tools agree on.
    pub(crate) fn for_driver(&self) -> sqlx::migrate::Migration {
        let sql = self.sql.into_sql_str();
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
    fn state(&self, known: Option<&Migration>) -> MigrationState {
        match known {
            _ if !self.success => MigrationState::Dirty,
            None => MigrationState::Missing,
            Some(known) if *known.for_driver().checksum != self.checksum => MigrationState::Changed,
            Some(_) => MigrationState::Applied,
        }
    }
}

/// Merges both sides, in order of version.
pub(crate) fn compare(known: &[Migration], recorded: Vec<RecordedMigration>) -> Vec<MigrationStatus> {
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
        let state = row.state(known.iter().find(|migration| migration.version == row.version));
        MigrationStatus { version: row.version, name: row.name, state }
    }));
    all.sort_by_key(|status| status.version);
    all
}

/// The first reason, in order of version, not to migrate at all.
pub(crate) fn refusal(known: &[Migration], recorded: &[RecordedMigration]) -> Option<MigrationError> {
    recorded.iter().find_map(|row| {
        let migration = known.iter().find(|migration| migration.version == row.version);
        let (version, name) = (row.version, row.name.clone());
        match row.state(migration) {
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
