//! Migrating: under an advisory lock of the session, which the server frees when its holder is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::Connection;
use crate::backend::Statement;
use crate::migrate::{self, Applied, Migration};
use crate::pool::{Lease, Pool};
use crate::{Error, MigrationError};

const LOCK_WAIT: Duration = Duration::from_secs(60);
const LOCK_POLL: Duration = Duration::from_millis(50);

/// `mainstay` in ASCII. Advisory locks are per database.
const LOCK: i64 = 0x6d61_696e_7374_6179;

pub(super) async fn run(pool: &Arc<Pool<Connection>>, migrations: &[Migration]) -> Result<Applied, Error> {
    let mut lease = pool.acquire().await?;
    // Closing it gives the lock back and restores the statement timeout.
    lease.discard();
    lease.control("SET statement_timeout = 0", false).await?;
    lock(&mut lease).await?;
    migrate::apply_missing(&mut lease, migrations).await
}

/// Asked for again and again rather than waited for at the server, where a transaction that waits would keep
/// `CREATE INDEX CONCURRENTLY` in a migration of the holder from ending.
async fn lock(lease: &mut Lease<Connection>) -> Result<(), Error> {
    let mut attempt = Statement::new("SELECT pg_try_advisory_lock(?) AS locked");
    attempt.values.push(LOCK.into());
    let started = Instant::now();
    loop {
        let row = lease.fetch_optional(&attempt).await?.ok_or(Error::NotFound)?;
        if row.get("locked")? {
            return Ok(());
        }
        if started.elapsed() >= LOCK_WAIT {
            let lock = format!("advisory lock {LOCK} of {}", lease.target());
            return Err(MigrationError::Locked { waited: started.elapsed(), lock }.into());
        }
        sleep(LOCK_POLL).await;
    }
}
