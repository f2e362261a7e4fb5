use std::time::Duration;

use mainstay_core::deadline::Deadline;
use mainstay_sql::{Database, Error};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::{Store, bounded, count, eventually, insert, notes, on_each_database, reader};

on_each_database!(
    with_no_time_left_nothing_is_begun_and_no_connection_is_lost,
    a_commit_keeps_everything_and_a_rollback_nothing,
    a_dropped_transaction_frees_the_write_lock_at_once_for_other_connections,
    a_failed_statement_ends_its_transaction,
    a_value_that_is_refused_when_bound_ends_the_transaction_too,
    a_panic_inside_a_transaction_rolls_it_back,
    a_read_past_the_statement_timeout_is_interrupted_and_its_connection_serves_the_next,
    a_statement_and_the_wait_for_a_connection_end_with_the_deadline_of_the_caller,
    a_write_past_the_statement_timeout_leaves_nothing_behind_and_the_writer_free,
    a_cancelled_endless_read_stops_running,
    five_hundred_random_cancellations_leave_the_pools_clean_and_no_half_done_work,
);

async fn a_commit_keeps_everything_and_a_rollback_nothing(store: Store) {
    let db = notes(&store, |o| o).await;
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

async fn a_dropped_transaction_frees_the_write_lock_at_once_for_other_connections(store: Store) {
    let db = notes(&store, |o| o).await;
    let other = store.connect().await;
    let mut tx = db.begin().await.unwrap();
    tx.query("INSERT INTO notes (body) VALUES ('lost')").execute().await.unwrap();
    drop(tx);
    // `db` is not used in between: the rollback may not wait for its next user.
    insert(&other, "lost").await.unwrap();
    insert(&db, "mine").await.unwrap();
    assert_eq!(count(&db).await, 2);
}

async fn a_failed_statement_ends_its_transaction(store: Store) {
    let db = notes(&store, |o| o).await;
    let mut tx = db.begin().await.unwrap();
    tx.query("INSERT INTO notes (body) VALUES ('twice')").execute().await.unwrap();
    let duplicate = tx.query("INSERT INTO notes (body) VALUES ('twice')").execute().await.unwrap_err();
    assert!(
        matches!(duplicate, Error::Conflict { ref constraint } if constraint.ends_with("body")),
        "{duplicate}"
    );
    let refused = tx.query("INSERT INTO notes (body) VALUES ('after')").execute().await.unwrap_err();
    assert!(refused.to_string().contains("earlier statement"), "{refused}");
    tx.commit().await.unwrap_err();
    assert_eq!(count(&db).await, 0);
    insert(&db, "next").await.unwrap();
}

async fn a_value_that_is_refused_when_bound_ends_the_transaction_too(store: Store) {
    let db = notes(&store, |o| o).await;
    let mut tx = db.begin().await.unwrap();
    tx.query("INSERT INTO notes (body) VALUES ('half')").execute().await.unwrap();
    tx.query("INSERT INTO notes (body) VALUES (?)").bind("a\0b").execute().await.unwrap_err();
    tx.commit().await.unwrap_err();
    assert_eq!(count(&db).await, 0);
}

async fn a_panic_inside_a_transaction_rolls_it_back(store: Store) {
    let db = notes(&store, |o| o).await;
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

async fn a_read_past_the_statement_timeout_is_interrupted_and_its_connection_serves_the_next(store: Store) {
    let db = notes(&store, |o| o.pool_max(1).statement_timeout(Duration::from_secs(1))).await;
    let error = bounded(db.query(store.endless()).fetch_one()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }) && error.is_transient(), "{error}");
    assert_eq!(bounded(count(&db)).await, 0);
    assert_eq!(reader(&db).size, 1, "the pool does not grow");
}

async fn a_statement_and_the_wait_for_a_connection_end_with_the_deadline_of_the_caller(store: Store) {
    let db = notes(&store, |o| o.pool_max(1)).await;
    let hurried = |time| Deadline::after(Duration::from_millis(time));
    // There is a connection by then.
    assert_eq!(count(&db).await, 0);
    let error = bounded(hurried(50).scope(db.query(store.endless()).fetch_one())).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert_eq!(bounded(count(&db)).await, 0);

    let held = db.begin().await.unwrap();
    let error = bounded(hurried(50).scope(db.begin())).await.err().unwrap();
    assert!(error.is_transient(), "{error}");
    drop(held);
    bounded(insert(&db, "later")).await.unwrap();
}

async fn a_write_past_the_statement_timeout_leaves_nothing_behind_and_the_writer_free(store: Store) {
    let db = notes(&store, |o| o.statement_timeout(Duration::from_secs(1))).await;
    let endless = store.endless_write();
    assert!(matches!(bounded(db.query(endless).execute()).await, Err(Error::Timeout { .. })));

    let mut tx = db.begin().await.unwrap();
    tx.query("INSERT INTO notes (body) VALUES ('lost')").execute().await.unwrap();
    assert!(matches!(bounded(tx.query(endless).execute()).await, Err(Error::Timeout { .. })));
    tx.commit().await.unwrap_err();

    let other = store.connect().await;
    insert(&other, "theirs").await.unwrap();
    insert(&db, "mine").await.unwrap();
    assert_eq!(count(&db).await, 2);
}

async fn a_cancelled_endless_read_stops_running(store: Store) {
    let db = notes(&store, |o| o.pool_max(1)).await;
    let read = tokio::spawn({
        let (db, endless) = (db.clone(), store.endless());
        async move { db.query(endless).fetch_one().await }
    });
    eventually(|| reader(&db).in_use == 1 && reader(&db).size == 1).await;
    read.abort();
    assert!(read.await.unwrap_err().is_cancelled());
    assert_eq!(bounded(count(&db)).await, 0);
}

/// One random operation; answers how many rows it has certainly committed.
async fn operate(db: &Database, endless: &'static str, kind: u32, id: usize) -> i64 {
    match kind {
        0 => {
            let _ = db.query("SELECT id FROM notes ORDER BY body").fetch_all().await;
            0
        }
        1 => {
            let _ = db.query(endless).fetch_optional().await;
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

async fn survive_random_cancellation(db: Database, endless: &'static str, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut certain = 0;
    for round in 0..125 {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..4 {
            let (db, kind) = (db.clone(), random.random_range(0..6));
            let patience = Duration::from_micros(random.random_range(0..3000));
            tasks.spawn(async move {
                tokio::time::timeout(patience, operate(&db, endless, kind, round * 4 + task))
                    .await
                    .unwrap_or(0)
            });
        }
        while let Some(rows) = bounded(tasks.join_next()).await {
            certain += rows.unwrap();
        }
    }
    eventually(|| db.stats().iter().all(|pool| (pool.in_use, pool.waiting) == (0, 0))).await;
    for pool in db.stats() {
        assert!(pool.size <= pool.max && pool.idle == pool.size, "{pool:?}");
    }
    bounded(insert(&db, "last")).await.unwrap();
    let total = bounded(count(&db)).await - 1;
    assert_eq!(total % 2, 0, "a half-done pair was kept");
    assert!(total >= certain, "{total} rows, but {certain} were reported as committed");
}

async fn five_hundred_random_cancellations_leave_the_pools_clean_and_no_half_done_work(store: Store) {
    let db = notes(&store, |o| o.pool_max(2)).await;
    survive_random_cancellation(db, store.endless(), 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_in_memory_database_survives_random_cancellations_with_its_data() {
    let db = Database::connect(mainstay_sql::Options::sqlite_in_memory()).await.unwrap();
    db.migrate(&mainstay_sql::Migrations::new([crate::support::NOTES])).await.unwrap();
    survive_random_cancellation(db, crate::support::ENDLESS, 11).await;
}

async fn with_no_time_left_nothing_is_begun_and_no_connection_is_lost(store: Store) {
    let db = notes(&store, |o| o.pool_max(1)).await;
    assert_eq!(count(&db).await, 0);
    let idle = || db.stats().iter().map(|pool| pool.idle).collect::<Vec<_>>();
    let before = idle();
    for n in 0..20 {
        let expired = Deadline::after(Duration::ZERO);
        for error in [
            expired.scope(insert(&db, &format!("{n}"))).await.unwrap_err(),
            expired.scope(db.ping()).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        }
        assert_eq!(idle(), before);
        let mut tx = db.begin().await.unwrap();
        tx.query("INSERT INTO notes (body) VALUES ('x')").execute().await.unwrap();
        let error = expired.scope(tx.commit()).await.unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        assert_eq!(count(&db).await, 0);
    }
}
