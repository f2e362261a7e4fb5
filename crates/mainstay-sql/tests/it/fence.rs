//! A holder that comes too late writes nothing.

use std::time::Duration;

use mainstay_core::lock::{Locks, Lost, Memory, Options};
use mainstay_core::metrics::Metrics;
use mainstay_sql::fence::{Error, Fence};
use mainstay_sql::{Database, Migration, Migrations};
use mainstay_testkit::TestClock;

use crate::support::{Store, on_each_database};

on_each_database!(
    the_late_write_of_a_stopped_holder_is_refused,
    in_a_transaction_a_refusal_leaves_the_rest_to_the_caller,
    a_row_that_is_not_there_is_not_written,
    a_statement_that_would_not_be_fenced_is_refused_and_not_run,
);

const REPORTS: Migration = Migration::sql(
    1,
    "reports",
    "CREATE TABLE reports (id BIGINT PRIMARY KEY, total BIGINT NOT NULL DEFAULT 0, fence BIGINT NOT NULL DEFAULT 0)",
);
const WRITE: &str = "UPDATE reports SET fence = ?, total = ? WHERE id = ? AND fence <= ?";

async fn reports(store: &Store) -> Database {
    let db = store.connect().await;
    db.migrate(&Migrations::new([REPORTS])).await.unwrap();
    for id in [1, 2] {
        db.query("INSERT INTO reports (id) VALUES (?)").bind(id).execute().await.unwrap();
    }
    db
}

async fn total(db: &Database) -> i64 {
    let row = db.query("SELECT total FROM reports WHERE id = ?").bind(1).fetch_one().await.unwrap();
    row.get("total").unwrap()
}

async fn write(db: &Database, fence: Fence, total: i64) -> Result<(), Error> {
    db.fenced(WRITE, fence).bind(total).bind(1).label("reports.write").execute().await
}

async fn the_late_write_of_a_stopped_holder_is_refused(store: Store) {
    let db = reports(&store).await;
    let time = TestClock::new();
    let kept = std::sync::Arc::new(Memory::new(time.clock()));
    let mut options = Options::default();
    options.keeper_thread = false;
    let process = || Locks::new(kept.clone(), options.clone(), &Metrics::new(), time.clock());
    let (here, there) = (process(), process());

    let stopped = here.lock("report:1").acquire().await.unwrap();
    write(&db, stopped.fence(), 1).await.unwrap();
    assert_eq!(stopped.check(), Ok(()), "it means to write, and is stopped before it does");
    time.suspend(3 * Duration::from_secs(30));
    let next = there.lock("report:1").acquire().await.unwrap();
    write(&db, next.fence(), 2).await.unwrap();

    assert!(matches!(write(&db, stopped.fence(), 3).await, Err(Error::Stale)));
    assert_eq!(total(&db).await, 2);
    assert_eq!(stopped.check(), Err(Lost));
    write(&db, next.fence(), 4).await.expect("as often as its holder likes");
    assert_eq!(total(&db).await, 4);
}

async fn in_a_transaction_a_refusal_leaves_the_rest_to_the_caller(store: Store) {
    let db = reports(&store).await;
    write(&db, Fence::from(8), 8).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let refused = tx.fenced(WRITE, Fence::from(7)).bind(7).bind(1).execute().await;
    assert!(matches!(refused, Err(Error::Stale)), "{refused:?}");
    tx.fenced(WRITE, Fence::from(9)).bind(9).bind(1).execute().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(total(&db).await, 9);
}

async fn a_row_that_is_not_there_is_not_written(store: Store) {
    let db = reports(&store).await;
    let missing = db.fenced(WRITE, Fence::from(1)).bind(1).bind(77).execute().await;
    assert!(matches!(missing, Err(Error::Stale)), "{missing:?}");
}

async fn a_statement_that_would_not_be_fenced_is_refused_and_not_run(store: Store) {
    let db = reports(&store).await;
    let unfenced = "UPDATE reports SET fence = ?, total = ? WHERE fence >= 0 OR fence <= ?";
    for (sql, fence) in [(unfenced, 1), (WRITE, u64::MAX)] {
        let refused = db.fenced(sql, Fence::from(fence)).bind(5).execute().await;
        assert!(matches!(refused, Err(Error::Database(mainstay_sql::Error::Query { .. }))), "{refused:?}");
    }
    assert_eq!(total(&db).await, 0);
    let several = "UPDATE reports SET fence = ? WHERE id > 0 AND fence <= ?";
    let several = db.fenced(several, Fence::from(1)).execute().await;
    assert!(matches!(several, Err(Error::Database(_))), "{several:?}");
}
