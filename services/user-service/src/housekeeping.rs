//! What has to be tidied up while the service runs.

use std::time::Duration;

use mainstay::auth::session::Sessions;
use mainstay::container::Dep;
use mainstay::sql::Database;
use mainstay::sql::idempotency::IdempotencyKeys;
use mainstay::sql::inbox::Inbox;
use mainstay::task::{Overrun, TaskGroup};

use crate::audit::AUDIT;
use crate::users::{Error, UserRepository};

const PERIOD: Duration = Duration::from_secs(3600);

/// So many users are looked at in one go.
const BATCH: usize = 500;

/// Removes idempotency keys that are too old to be repeated, notes of events that do not come again and sessions that
/// are over, and seals phone numbers under the key of today, every hour. Instances need not agree who does it: the
/// second finds nothing left.
pub(crate) struct Housekeeping {
    database: Dep<Database>,
    users: Dep<dyn UserRepository>,
    sessions: Dep<Sessions>,
    tasks: TaskGroup,
}

impl Housekeeping {
    pub(crate) fn new(
        database: Dep<Database>,
        users: Dep<dyn UserRepository>,
        sessions: Dep<Sessions>,
    ) -> Self {
        Self { database, users, sessions, tasks: TaskGroup::new() }
    }

    pub(crate) fn start(&self) {
        let (database, users, sessions) = (self.database.clone(), self.users.clone(), self.sessions.clone());
        self.tasks.spawn_until_cancelled("housekeeping", async move {
            loop {
                tidy(&database, &sessions).await;
                if let Err(error) = reseal(&*users).await {
                    tracing::warn!(%error, "phone numbers not sealed anew; trying again in an hour");
                }
                tokio::time::sleep(PERIOD).await;
            }
        });
    }

    pub(crate) async fn stop(&self) -> Result<(), Overrun> {
        self.tasks.stop(Duration::from_secs(5)).await
    }
}

async fn tidy(database: &Database, sessions: &Sessions) {
    let (keys, inbox) = (IdempotencyKeys::new(), Inbox::new(AUDIT));
    for (what, purged) in [
        ("idempotency keys", keys.purge(database).await.map_err(|error| error.to_string())),
        ("events handled", inbox.purge(database).await.map_err(|error| error.to_string())),
        ("sessions", sessions.purge().await.map_err(|error| error.to_string())),
    ] {
        match purged {
            Ok(0) => {}
            Ok(removed) => tracing::debug!(removed, what, "old entries removed"),
            Err(error) => tracing::warn!(%error, what, "old entries not removed; trying again in an hour"),
        }
    }
}

/// After a change of keys, or of a version that kept numbers in the clear. Answers how many there were.
pub(crate) async fn reseal(users: &dyn UserRepository) -> Result<u64, Error> {
    let (mut after, mut changed) = (String::new(), 0);
    loop {
        let resealed = users.reseal(&after, BATCH).await?;
        changed += resealed.changed;
        let Some(last) = resealed.last else { break };
        after = last;
    }
    if changed > 0 {
        tracing::info!(changed, "phone numbers sealed under the key of today");
    }
    Ok(changed)
}
