//! What has to be tidied up while the service runs.

use std::time::Duration;

use mainstay::container::Dep;
use mainstay::sql::Database;
use mainstay::sql::idempotency::IdempotencyKeys;
use mainstay::sql::inbox::Inbox;
use mainstay::task::{Overrun, TaskGroup};

use crate::audit::AUDIT;

const PERIOD: Duration = Duration::from_secs(3600);

/// Removes idempotency keys that are too old to be repeated and notes of events that do not come again, every hour.
/// Instances need not agree who does it: a second deletion finds nothing.
pub(crate) struct Housekeeping {
    database: Dep<Database>,
    tasks: TaskGroup,
}

impl Housekeeping {
    pub(crate) fn new(database: Dep<Database>) -> Self {
        Self { database, tasks: TaskGroup::new() }
    }

    pub(crate) fn start(&self) {
        let database = self.database.clone();
        self.tasks.spawn_until_cancelled("housekeeping", async move { tidy(&database).await });
    }

    pub(crate) async fn stop(&self) -> Result<(), Overrun> {
        self.tasks.stop(Duration::from_secs(5)).await
    }
}

async fn tidy(database: &Database) {
    let (keys, inbox) = (IdempotencyKeys::new(), Inbox::new(AUDIT));
    loop {
        for (what, purged) in [
            ("idempotency keys", keys.purge(database).await),
            ("events handled", inbox.purge(database).await),
        ] {
            match purged {
                Ok(0) => {}
                Ok(removed) => tracing::debug!(removed, what, "old entries removed"),
                Err(error) => {
                    tracing::warn!(%error, what, "old entries not removed; trying again in an hour");
                }
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}
