//! Migrating: under a named lock of the session, which the server frees when its holder is gone.
//!
//! A change of the schema ends the transaction it stands in, so a migration that fails half-way stays half-done. It is
//! recorded as begun before its first statement and as done after its last: what is in between is dirty, and refused.

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

/// The first name is read by MySQL alone, the second by MariaDB.
const NO_LIMIT: &str = "SET SESSION /*!80000 max_execution_time */ /*M! max_statement_time */ = 0";

pub(super) async fn run(pool: &Arc<Pool<Connection>>, migrations: &[Migration]) -> Result<Applied, Error> {
    let mut lease = pool.acquire().await?;
    // Closing it gives the lock back and restores the limit of time.
    lease.discard();
    lease.control(NO_LIMIT, false).await?;
    lock(&mut lease).await?;
    migrate::apply_missing(&mut lease, migrations).await
}

/// Such locks are of the whole server, and their names at most 64 characters long.
async fn lock(lease: &mut Lease<Connection>) -> Result<(), Error> {
    let attempt = Statement::new(
        "SELECT GET_LOCK(CONCAT('mainstay-migrate-', LEFT(MD5(database()), 32)), 0) AS locked",
    );
    let started = Instant::now();
    loop {
        let row = lease.fetch_optional(&attempt).await?.ok_or(Error::NotFound)?;
        if row.get::<Option<bool>>("locked")? == Some(true) {
            return Ok(());
        }
        if started.elapsed() >= LOCK_WAIT {
            let lock = format!("GET_LOCK of mainstay-migrate for {}", lease.target());
            return Err(MigrationError::Locked { waited: started.elapsed(), lock }.into());
        }
        sleep(LOCK_POLL).await;
    }
}
