//! Removes for good, now and then, who was deleted long ago.

use std::time::Duration;

use mainstay::config::{self, Config};
use mainstay::lock::{self, Locks, election::Leadership};
use mainstay::metrics::{Counter, Metrics, Unit};
use mainstay::task::{Overrun, TaskGroup};

use crate::settings;
use crate::users::{self, UserService, now};

/// Other writers wait no longer than this many deletions take.
const BATCH: usize = 500;
const PURGED: &str = "users_purged_total";

/// A purge at once and after each interval, on the one instance that leads. A leader that stopped for a while and
/// does not know yet that another leads could purge beside it: two would share the work, and no harm be done.
pub(crate) struct Purge {
    work: Work,
    locks: Locks,
    tasks: TaskGroup,
}

#[derive(Clone)]
struct Work {
    users: UserService,
    config: Config,
    purged: Counter,
}

impl Purge {
    pub(crate) fn new(users: UserService, locks: Locks, config: Config, metrics: &Metrics) -> Self {
        metrics.describe_counter(PURGED, Unit::None, "Deleted users removed for good.");
        let purged = metrics.counter(PURGED).with(&[]);
        Self { work: Work { users, config, purged }, locks, tasks: TaskGroup::new() }
    }

    pub(crate) fn start(&self) -> Result<(), lock::Error> {
        let ttl = self.work.config.get::<config::Lock>().ttl;
        let (election, work) = (self.locks.elect("users:purge").ttl(ttl).start()?, self.work.clone());
        self.tasks.spawn_until_cancelled("purge of users", async move {
            election.run(|leadership| work.clone().repeat(leadership)).await;
        });
        Ok(())
    }

    pub(crate) async fn stop(&self) -> Result<(), Overrun> {
        self.tasks.stop(Duration::from_secs(5)).await
    }
}

impl Work {
    async fn repeat(self, leadership: Leadership) {
        let mut settings = self.config.watch::<settings::Users>();
        loop {
            let users = settings.current();
            if let Err(error) = self.round(&leadership, users.purge_after).await {
                tracing::warn!(%error, "deleted users not purged; trying again next time");
            }
            // Changed settings count at once.
            if let Ok(None) = tokio::time::timeout(users.purge_interval, settings.changed()).await {
                return;
            }
        }
    }

    async fn round(&self, leadership: &Leadership, keep: Duration) -> Result<(), Error> {
        let deleted_before = now() - keep;
        loop {
            leadership.check()?;
            let removed = self.users.purge(deleted_before, BATCH).await?;
            if removed > 0 {
                self.purged.increment(removed as u64);
                tracing::info!(removed, "deleted users removed for good");
            }
            if removed < BATCH {
                return Ok(());
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Lost(#[from] lock::Lost),
    #[error(transparent)]
    Users(#[from] users::Error),
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstay::cache::{self, Cache};
    use mainstay::sql::Database;
    use mainstay::time::Clock;

    use super::*;
    use crate::ground;
    use crate::users::SqlUserRepository;

    /// A thousand and some users, deleted when time began.
    const DELETED: i64 = 1_234;

    async fn purge() -> (Purge, Database) {
        let db = ground::in_memory().await;
        db.query(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
             INSERT INTO users (id, email, email_key, name, role, created_at, updated_at, deleted_at, version) \
             SELECT i, i, i, i, 'user', 0, 0, 0, 2 FROM n",
        )
        .bind(DELETED)
        .execute()
        .await
        .unwrap();
        let (metrics, clock) = (Metrics::new(), Clock::system());
        let cache = Cache::in_memory(cache::Options::default(), &metrics, clock.clone());
        let locks = Locks::in_memory(lock::Options::default(), &metrics, clock);
        let users = SqlUserRepository::new(db.clone(), ground::events(&db), ground::vault());
        let users =
            UserService::new(Arc::new(users), cache, ground::vault(), Arc::new(ground::NothingFollows));
        let config = Config::builder().section::<settings::Users>().no_files().load().unwrap();
        (Purge::new(users, locks, config, &metrics), db)
    }

    async fn left(db: &Database) -> i64 {
        let row = db.query("SELECT COUNT(*) AS left_over FROM users").fetch_one().await.unwrap();
        row.get("left_over").unwrap()
    }

    #[tokio::test]
    async fn a_round_removes_all_who_are_due_in_batches() {
        let (purge, db) = purge().await;
        let election = purge.locks.elect("users:purge").start().unwrap();
        let leadership = election.elected().await.unwrap();
        purge.work.round(&leadership, Duration::from_hours(24)).await.unwrap();
        assert_eq!((left(&db).await, purge.work.purged.get()), (0, DELETED.unsigned_abs()));
        purge.work.round(&leadership, Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn who_leads_no_more_removes_nobody() {
        let (purge, db) = purge().await;
        let election = purge.locks.elect("users:purge").start().unwrap();
        let leadership = election.elected().await.unwrap();
        election.resign(Duration::from_secs(5)).await.unwrap();
        assert!(matches!(purge.work.round(&leadership, Duration::ZERO).await, Err(Error::Lost(_))));
        assert_eq!(left(&db).await, DELETED);
    }
}
