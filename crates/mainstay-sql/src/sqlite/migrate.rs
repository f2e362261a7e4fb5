//! Migrating a SQLite file. The driver's migrator takes no lock on SQLite, so processes that start
//! together take turns through an operating-system lock on a file beside the database. The kernel
//! releases it when its holder dies.

use std::fmt::Display;
use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::Connection;
use crate::migrate::{self, Applied, Migration};
use crate::pool::Pool;
use crate::{Error, MigrationError};

const LOCK_WAIT: Duration = Duration::from_secs(60);
const LOCK_POLL: Duration = Duration::from_millis(20);

pub(super) async fn run(writer: &Arc<Pool<Connection>>, migrations: &[Migration]) -> Result<Applied, Error> {
    let path = &writer.target.path;
    let _lock = match path.to_str() {
        Some(":memory:") => None,
        _ => Some(lock(path).await?),
    };
    migrate::apply_missing(&mut writer.acquire().await?, migrations).await
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
                return Err(MigrationError::Locked {
                    waited: started.elapsed(),
                    lock: format!("lock file {}", path.display()),
                }
                .into());
            }
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
    }
}
