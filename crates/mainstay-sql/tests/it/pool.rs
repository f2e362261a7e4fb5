use std::time::Duration;

use mainstay_sql::{Database, Dialect, Error, Options};
use tempfile::TempDir;

use crate::support::{
    Store, bounded, count, eventually, file, insert, notes, on_each_database, options, reader,
};

on_each_database!(
    an_exhausted_pool_says_its_size_its_use_and_how_long_was_waited,
    readers_do_not_wait_for_the_writer,
    stats_show_who_uses_and_who_waits,
    a_read_connection_cannot_write,
    idle_connections_above_the_minimum_are_closed,
);

async fn an_exhausted_pool_says_its_size_its_use_and_how_long_was_waited(store: Store) {
    let db = notes(&store, |o| o.pool_max(1).acquire_timeout(Duration::from_secs(1))).await;
    let _held = db.begin().await.unwrap();
    let error = insert(&db, "waits").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && error.is_transient());
    let text = error.to_string();
    for part in ["connection became free within 1s: 1 of 1 in use, the longest for 1.", "DB_POOL_MAX"] {
        assert!(text.contains(part), "{text}");
    }
}

async fn readers_do_not_wait_for_the_writer(store: Store) {
    let db = notes(&store, |o| o).await;
    let mut tx = db.begin().await.unwrap();
    tx.query("INSERT INTO notes (body) VALUES ('unseen')").execute().await.unwrap();
    assert_eq!(bounded(count(&db)).await, 0);
    tx.commit().await.unwrap();
    assert_eq!(bounded(count(&db)).await, 1);
}

async fn stats_show_who_uses_and_who_waits(store: Store) {
    let db = notes(&store, |o| o.pool_max(1)).await;
    let reads: Vec<_> = (0..2)
        .map(|_| {
            let (db, endless) = (db.clone(), store.endless());
            tokio::spawn(async move { db.query(endless).fetch_one().await })
        })
        .collect();
    eventually(|| reader(&db).waiting == 1).await;
    let reader = reader(&db);
    let name = if store.is(Dialect::Sqlite) { "reader" } else { "primary" };
    assert_eq!((reader.name, reader.max, reader.in_use, reader.idle), (name, 1, 1, 0));
    for read in reads {
        read.abort();
        let _ = read.await;
    }
    // A server is told to end what ran, which takes a moment.
    eventually(|| (crate::support::reader(&db).in_use, crate::support::reader(&db).waiting) == (0, 0)).await;
}

async fn a_read_connection_cannot_write(store: Store) {
    let db = notes(&store, |o| o).await;
    let sneaky = db.query("INSERT INTO notes (body) VALUES ('x') RETURNING id").fetch_one().await;
    sneaky.unwrap_err();
    assert_eq!(count(&db).await, 0);
}

async fn idle_connections_above_the_minimum_are_closed(store: Store) {
    let db = notes(&store, |o| o.pool_min(1).pool_max(4).idle_timeout(Duration::ZERO)).await;
    let reads = (0..4).map(|_| {
        tokio::spawn({
            let db = db.clone();
            async move { count(&db).await }
        })
    });
    for read in reads.collect::<Vec<_>>() {
        read.await.unwrap();
    }
    bounded(async {
        while reader(&db).size > 1 {
            db.ping().await.unwrap();
        }
    })
    .await;
    assert_eq!(reader(&db).size, 1);
}

#[tokio::test]
async fn closing_waits_for_users_and_then_refuses_new_ones() {
    let (db, directory) = file(|o| o).await;
    let mut tx = db.begin().await.unwrap();
    let closing = tokio::spawn({
        let db = db.clone();
        async move { db.close().await }
    });
    eventually(|| db.stats()[1].size == 0).await;
    tx.query("INSERT INTO notes (body) VALUES ('finished')").execute().await.unwrap();
    tx.commit().await.unwrap();
    bounded(closing).await.unwrap();
    assert!(insert(&db, "late").await.unwrap_err().to_string().contains("closed"));
    assert!(db.ping().await.is_err());
    assert!(db.stats().iter().all(|pool| pool.size == 0));
    let log = directory.path().join("data/test.db-wal");
    assert!(!log.exists(), "the last connection folds the log back into the file");
    assert_eq!(count(&Database::connect(options(&directory)).await.unwrap()).await, 1);
}

#[tokio::test]
async fn an_in_memory_database_is_one_shared_connection_and_private_to_its_handle() {
    let db = Database::connect(Options::sqlite_in_memory().pool_max(8)).await.unwrap();
    db.query("CREATE TABLE notes (body TEXT)").execute().await.unwrap();
    insert(&db, "a").await.unwrap();
    assert_eq!(count(&db.clone()).await, 1);
    assert_eq!(db.stats().len(), 1);
    let other = Database::connect(Options::sqlite_in_memory()).await.unwrap();
    assert!(insert(&other, "a").await.is_err(), "no such table there");
}

#[tokio::test]
async fn the_connection_settings_are_the_promised_ones() {
    let (db, _directory) = file(|o| o).await;
    let text = async |sql| db.query(sql).fetch_one().await.unwrap();
    assert_eq!(text("PRAGMA journal_mode").await.get::<String>("journal_mode").unwrap(), "wal");
    let mut tx = db.begin().await.unwrap();
    for (sql, column, expected) in [
        ("PRAGMA foreign_keys", "foreign_keys", 1),
        ("PRAGMA synchronous", "synchronous", 1),
        ("PRAGMA busy_timeout", "timeout", 5000),
    ] {
        assert_eq!(tx.query(sql).fetch_one().await.unwrap().get::<i64>(column).unwrap(), expected, "{sql}");
    }
    let directory = TempDir::new().unwrap();
    let full = options(&directory).synchronous(mainstay_sql::Synchronous::Full);
    let full = Database::connect(full).await.unwrap();
    let mut tx = full.begin().await.unwrap();
    assert_eq!(
        tx.query("PRAGMA synchronous").fetch_one().await.unwrap().get::<i64>("synchronous").unwrap(),
        2
    );
}
