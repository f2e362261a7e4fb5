use std::future::Future;
use std::time::Duration;

use mainstay_sql::{Database, Migration, Migrations, Options};
use tempfile::TempDir;

/// Runs until it is interrupted.
pub(crate) const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS total FROM n";

pub(crate) const NOTES: Migration = Migration::sql(
    1,
    "notes",
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, body VARCHAR(200) NOT NULL UNIQUE)",
);

pub(crate) fn options(directory: &TempDir) -> Options {
    Options::sqlite(directory.path().join("data/test.db"))
}

/// A fresh file with an empty table `notes`.
pub(crate) async fn notes(change: impl FnOnce(Options) -> Options) -> (Database, TempDir) {
    let directory = TempDir::new().unwrap();
    let db = Database::connect(change(options(&directory))).await.unwrap();
    db.migrate(&Migrations::new([NOTES])).await.unwrap();
    (db, directory)
}

pub(crate) async fn insert(db: &Database, body: &str) -> Result<u64, mainstay_sql::Error> {
    db.query("INSERT INTO notes (body) VALUES (?)").bind(body).execute().await
}

pub(crate) async fn count(db: &Database) -> i64 {
    db.query("SELECT count(*) AS total FROM notes").fetch_one().await.unwrap().get("total").unwrap()
}

/// Waits for a condition without guessing how long it takes.
pub(crate) async fn eventually(mut condition: impl FnMut() -> bool) {
    bounded(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub(crate) async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("does not end")
}
