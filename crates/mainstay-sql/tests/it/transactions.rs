use std::time::Duration;

use mainstay_core::deadline::Deadline;
use mainstay_sql::{Database, Error};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::{ENDLESS, bounded, count, eventually, insert, notes, options};

#[tokio::test]
async fn a_commit_keeps_everything_and_a_rollback_nothing() {
    let (db, _directory) = notes(|o| o).await;
    let mut tx = db.begin().await.unwrap();
    tx.query("INSERT INTO notes (body) VALUES (?)").bind("kept").execute().await.unwrap();
    assert_eq!(count(&db).await, 0, "others must not see it yet");
    tx.commit().await.unwrap();
    assert_eq!(count(&db).await, 1);

    let mut tx = db.begin().await.unwrap();
    tx.query("DELETE FROM notes").execute().await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn a_dropped_transaction_frees_the_write_lock_at_once_for_other_connections() {
    let (db, directory) = notes(|o| o).await;
    let other = Database::connect(options(&directory)).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    tx.query("INSERT INTO notes (body) VALUES ('lost')").execute().await.unwrap();
    drop(tx);
    // `db` is not used in between: the rollback may not wait for its next user.
    insert(&other, "theirs").await.unwrap();
    insert(&db, "mine").await.unwrap();
    assert_eq!(count(&db).await, 2);
}

#[tokio::test]
async fn a_failed_statement_ends_its_transaction() {
    let (db, _directory) = notes(|o| o).await;
    let mut tx = db.begin().await.unwrap();
    tx.query("INSERT INTO notes (body) VALUES ('twice')").execute().await.unwrap();
    let duplicate = tx.query("INSERT INTO notes (body) VALUES ('twice')").execute().await.unwrap_err();
    assert!(
        matches!(duplicate, Error::Conflict { ref constraint } if constraint == "notes.body"),
        "{duplicate}"
    );
    let refused = tx.query("INSERT INTO notes (body) VALUES ('after')").execute().await.unwrap_err();
    assert!(refused.to_string().contains("earlier statement"), "{refused}");
    tx.commit().await.unwrap_err();
    assert_eq!(count(&db).await, 0);
    insert(&db, "next").await.unwrap();
}

#[tokio::test]
async fn a_panic_inside_a_transaction_rolls_it_back() {
    let (db, _directory) = notes(|o| o).await;
    let inside = db.clone();
    let panicked = tokio::spawn(async move {
        let mut tx = inside.begin().await.unwrap();
        tx.query("INSERT INTO notes (body) VALUES ('lost')").execute().await.unwrap();
        panic!("on purpose");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(count(&db).await, 0);
    insert(&db, "next").await.unwrap();
}

#[tokio::test]
async fn a_read_past_the_statement_timeout_is_interrupted_and_its_connection_serves_the_next() {
    let (db, _directory) = notes(|o| o.pool_max(1).statement_timeout(Duration::from_secs(1))).await;
    let error = bounded(db.query(ENDLESS).fetch_one()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }) && error.is_transient(), "{error}");
    assert_eq!(bounded(count(&db)).await, 0);
    assert_eq!(db.stats()[1].size, 1, "the same connection is used again");
}

#[tokio::test]
async fn a_statement_and_the_wait_for_a_connection_end_with_the_deadline_of_the_caller() {
    let (db, _directory) = notes(|o| o.pool_max(1)).await;
    let hurried = |time| Deadline::after(Duration::from_millis(time));
    let error = bounded(hurried(50).scope(db.query(ENDLESS).fetch_one())).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert_eq!(bounded(count(&db)).await, 0);

    let held = db.begin().await.unwrap();
    let error = bounded(hurried(50).scope(db.begin())).await.err().unwrap();
    assert!(error.is_transient(), "{error}");
    drop(held);
    bounded(insert(&db, "later")).await.unwrap();
}

#[tokio::test]
async fn a_write_past_the_statement_timeout_leaves_nothing_behind_and_the_writer_free() {
    let (db, directory) = notes(|o| o.statement_timeout(Duration::from_secs(1))).await;
    let endless = "INSERT INTO notes (body) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    assert!(matches!(bounded(db.query(endless).execute()).await, Err(Error::Timeout { .. })));

    let mut tx = db.begin().await.unwrap();
    tx.query("INSERT INTO notes (body) VALUES ('lost')").execute().await.unwrap();
    assert!(matches!(bounded(tx.query(endless).execute()).await, Err(Error::Timeout { .. })));
    tx.commit().await.unwrap_err();

    let other = Database::connect(options(&directory)).await.unwrap();
    insert(&other, "theirs").await.unwrap();
    insert(&db, "mine").await.unwrap();
    assert_eq!(count(&db).await, 2);
}

#[tokio::test]
async fn a_cancelled_endless_read_stops_running() {
    let (db, _directory) = notes(|o| o.pool_max(1)).await;
    let read = tokio::spawn({
        let db = db.clone();
        async move { db.query(ENDLESS).fetch_one().await }
    });
    eventually(|| db.stats()[1].in_use == 1 && db.stats()[1].size == 1).await;
    read.abort();
    assert!(read.await.unwrap_err().is_cancelled());
    assert_eq!(bounded(count(&db)).await, 0);
}

/// One random operation; answers how many rows it has certainly committed.
async fn operate(db: &Database, kind: u32, id: usize) -> i64 {
    match kind {
        0 => {
            let _ = db.query("SELECT id FROM notes ORDER BY body").fetch_all().await;
            0
        }
        1 => {
            let _ = db.query(ENDLESS).fetch_optional().await;
            0
        }
        2 => {
            let pair = "INSERT INTO notes (body) VALUES (?), (?)";
            let done = db.query(pair).bind(format!("{id}a")).bind(format!("{id}b")).execute().await;
            done.map_or(0, |_| 2)
        }
        _ => {
            let Ok(mut tx) = db.begin().await else { return 0 };
            for half in ["a", "b"] {
                let body = format!("{id}{half}");
                if tx.query("INSERT INTO notes (body) VALUES (?)").bind(body).execute().await.is_err() {
                    return 0;
                }
            }
            match kind {
                3 => tx.commit().await.map_or(0, |()| 2),
                4 => tx.rollback().await.map_or(0, |()| 0),
                _ => 0,
            }
        }
    }
}

async fn survive_random_cancellation(db: Database, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut certain = 0;
    for round in 0..125 {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..4 {
            let (db, kind) = (db.clone(), random.random_range(0..6));
            let patience = Duration::from_micros(random.random_range(0..3000));
            tasks.spawn(async move {
                tokio::time::timeout(patience, operate(&db, kind, round * 4 + task)).await.unwrap_or(0)
            });
        }
        while let Some(rows) = bounded(tasks.join_next()).await {
            certain += rows.unwrap();
        }
    }
    for pool in db.stats() {
        assert_eq!((pool.in_use, pool.waiting), (0, 0), "{pool:?}");
        assert!(pool.size <= pool.max && pool.idle == pool.size, "{pool:?}");
    }
    bounded(insert(&db, "last")).await.unwrap();
    let total = bounded(count(&db)).await - 1;
    assert_eq!(total % 2, 0, "a half-done pair was kept");
    assert!(total >= certain, "{total} rows, but {certain} were reported as committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_random_cancellations_leave_the_pools_clean_and_no_half_done_work() {
    let (db, _directory) = notes(|o| o.pool_max(2)).await;
    survive_random_cancellation(db, 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_in_memory_database_survives_random_cancellations_with_its_data() {
    let db = Database::connect(mainstay_sql::Options::sqlite_in_memory()).await.unwrap();
    db.migrate(&mainstay_sql::Migrations::new([crate::support::NOTES])).await.unwrap();
    survive_random_cancellation(db, 11).await;
}
