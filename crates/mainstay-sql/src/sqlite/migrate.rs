//! Migrating a SQLite file. The driver's migrator takes no lock on SQLite, so processes that start
//! together take turns through an operating-system lock on a file beside the database. The kernel
//! releases it when its holder dies.

use std::fmt::Display;
use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError};
use tokio::time::{Instant, sleep};

use super::error::translate;
use super::pool::{Lease, Pool};
use crate::backend::Statement;
use crate::migrate::{self, Applied, Migration, RecordedMigration};
use crate::{Error, MigrationError};

/// The driver's own table, so that its command-line tool reads the same history.
const TABLE: &str = "_sqlx_migrations";
const LOCK_WAIT: Duration = Duration::from_secs(60);
const LOCK_POLL: Duration = Duration::from_millis(20);

pub(super) async fn run(writer: &Arc<Pool>, migrations: &[Migration]) -> Result<Applied, Error> {
    let _lock = match writer.path.to_str() {
        Some(":memory:") => None,
        _ => Some(lock(&writer.path).await?),
    };
    let mut lease = writer.acquire().await?;
    let before = recorded(&mut lease).await?;
    if let Some(refusal) = migrate::refusal(migrations, &before) {
        return Err(refusal.into());
    }
    let pending: Vec<_> =
        migrations.iter().filter(|known| before.iter().all(|row| row.version != known.version)).collect();
    if !pending.is_empty() {
        let prepared = lease.raw().ensure_migrations_table(TABLE).await;
        prepared.map_err(|error| explain(error, None, &writer.path))?;
    }
    for migration in &pending {
        let applied = lease.raw().apply(TABLE, &migration.for_driver()).await;
        applied.map_err(|error| explain(error, Some(migration), &writer.path))?;
        tracing::info!(target: "mainstay_sql", version = migration.version, name = migration.name, "migrated");
    }
    Ok(Applied { versions: pending.iter().map(|migration| migration.version).collect() })
}

pub(super) async fn recorded(lease: &mut Lease) -> Result<Vec<RecordedMigration>, Error> {
    let exists =
        Statement::new("SELECT name FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'");
    if lease.fetch_optional(&exists).await?.is_none() {
        return Ok(Vec::new());
    }
    let all = Statement::new(
        "SELECT version, description, checksum, success FROM _sqlx_migrations ORDER BY version",
    );
    lease
        .fetch_all(&all)
        .await?
        .iter()
        .map(|row| {
            Ok(RecordedMigration {
                version: row.get("version")?,
                name: row.get("description")?,
                checksum: row.get("checksum")?,
                success: row.get("success")?,
            })
        })
        .collect()
}

fn explain(error: MigrateError, migration: Option<&Migration>, path: &Path) -> Error {
    match (error, migration) {
        (MigrateError::ExecuteMigration(error, version), Some(migration)) => match translate(error, path) {
            Error::Query { reason, .. } => {
                MigrationError::Failed { version, name: migration.name, reason }.into()
            }
            other => other,
        },
        (MigrateError::Execute(error), _) => translate(error, path),
        (other, _) => Error::Query { reason: other.to_string(), source: Some(Box::new(other)) },
    }
}

/// The lock file stays: deleting it would let a process lock a file that another no longer sees.
async fn lock(database: &Path) -> Result<File, Error> {
    let mut name = database.as_os_str().to_owned();
    name.push(".migrate.lock");
    let path = PathBuf::from(name);
    let failed = |error: &dyn Display| Error::unavailable(format!("cannot lock {}: {error}", path.display()));
    let opening = path.clone();
    let open = move || File::options().create(true).truncate(false).write(true).mode(0o600).open(opening);
    let file = tokio::task::spawn_blocking(open)
        .await
        .map_err(|stopped| failed(&stopped))?
        .map_err(|error| failed(&error))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_WAIT => sleep(LOCK_POLL).await,
            Err(TryLockError::WouldBlock) => {
                return Err(MigrationError::Locked { waited: started.elapsed(), lock: path }.into());
            }
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
    }
}
