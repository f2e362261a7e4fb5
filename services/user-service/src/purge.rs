//! Removes for good, now and then, who was deleted long ago.

use std::time::Duration;

use mainstay::config::Config;
use mainstay::lock::{self, Locks};
use mainstay::metrics::{Counter, Metrics, Unit};
use mainstay::task::{Overrun, TaskGroup};

use crate::settings;
use crate::users::{self, UserService, now};

/// Other writers wait no longer than this many deletions take.
const BATCH: usize = 500;
const PURGED: &str = "users_purged_total";

/// A purge at start and after each interval. The lock spares instances the same work; were it lost
/// half-way, two of them would share it and no harm be done.
pub(crate) struct Purge {
    work: Work,
    tasks: TaskGroup,
}

#[derive(Clone)]
struct Work {
    users: UserService,
    locks: Locks,
    config: Config,
    purged: Counter,
}

impl Purge {
    pub(crate) fn new(users: UserService, locks: Locks, config: Config, metrics: &Metrics) -> Self {
        metrics.describe_counter(PURGED, Unit::None, "Deleted users removed for good.");
        let purged = metrics.counter(PURGED).with(&[]);
        Self { work: Work { users, locks, config, purged }, tasks: TaskGroup::new() }
    }

    pub(crate) fn start(&self) {
        let work = self.work.clone();
        self.tasks.spawn_until_cancelled("purge of users", async move { work.repeat().await });
    }

    pub(crate) async fn stop(&self) -> Result<(), Overrun> {
        self.tasks.stop(Duration::from_secs(5)).await
    }
}

impl Work {
    async fn repeat(self) {
        let mut settings = self.config.watch::<settings::Users>();
        loop {
            let users = settings.current();
            if let Err(error) = self.round(users.purge_after).await {
                tracing::warn!(%error, "deleted users not purged; trying again next time");
            }
            // Changed settings count at once.
            if let Ok(None) = tokio::time::timeout(users.purge_interval, settings.changed()).await {
                return;
            }
        }
    }

    async fn round(&self, keep: Duration) -> Result<(), Error> {
        let guard = match self.locks.lock("users:purge").try_acquire().await {
            Ok(guard) => guard,
            // Another instance is at it.
            Err(lock::Error::Contended { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let deleted_before = now() - keep;
        loop {
            guard.check()?;
            let removed = self.users.purge(deleted_before, BATCH).await?;
            if removed > 0 {
                self.purged.increment(removed as u64);
                tracing::info!(removed, "deleted users removed for good");
            }
            if removed < BATCH {
                break;
            }
        }
        guard.release().await?;
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Lock(#[from] lock::Error),
    #[error(transparent)]
    Lost(#[from] lock::Lost),
    #[error(transparent)]
    Users(#[from] users::Error),
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstay::cache::{self, Cache};
    use mainstay::event::{self, Events};
    use mainstay::sql::{Database, Options};
    use mainstay::time::Clock;

    use super::*;
    use crate::migrations;
    use crate::users::SqlUserRepository;

    /// A thousand and some users, deleted when time began.
    const DELETED: i64 = 1_234;

    async fn work() -> (Work, Database) {
        let db = Database::connect(Options::sqlite_in_memory()).await.unwrap();
        db.migrate(&migrations()).await.unwrap();
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
        let events = Events::in_memory(event::Options::default(), &metrics, clock.clone());
        let locks = Locks::in_memory(lock::Options::default(), &metrics, clock);
        let users = UserService::new(Arc::new(SqlUserRepository::new(db.clone())), cache, events, &metrics);
        let config = Config::builder().section::<settings::Users>().no_files().load().unwrap();
        (Purge::new(users, locks, config, &metrics).work, db)
    }

    async fn left(db: &Database) -> i64 {
        let row = db.query("SELECT COUNT(*) AS left_over FROM users").fetch_one().await.unwrap();
        row.get("left_over").unwrap()
    }

    #[tokio::test]
    async fn a_round_removes_all_who_are_due_in_batches() {
        let (work, db) = work().await;
        work.round(Duration::from_hours(24)).await.unwrap();
        assert_eq!((left(&db).await, work.purged.get()), (0, DELETED.unsigned_abs()));
        work.round(Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn a_round_leaves_the_work_to_whoever_holds_the_lock() {
        let (work, db) = work().await;
        let other = work.locks.lock("users:purge").try_acquire().await.unwrap();
        work.round(Duration::ZERO).await.unwrap();
        assert_eq!(left(&db).await, DELETED);
        other.release().await.unwrap();
        work.round(Duration::ZERO).await.unwrap();
        assert_eq!(left(&db).await, 0);
    }
}
