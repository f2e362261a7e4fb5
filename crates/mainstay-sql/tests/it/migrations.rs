use mainstay_sql::{Database, Error, Migration, MigrationError, MigrationState, Migrations};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::{NOTES, bounded, count, options};

const TAGS: Migration =
    Migration::sql(2, "tags", "CREATE TABLE tags (name TEXT);\nCREATE INDEX tag ON tags (name);");

async fn fresh() -> (Database, TempDir) {
    let directory = TempDir::new().unwrap();
    (Database::connect(options(&directory)).await.unwrap(), directory)
}

fn reason(result: Result<mainstay_sql::Applied, Error>) -> (MigrationError, String) {
    match result.unwrap_err() {
        Error::Migration(error) => {
            let text = error.to_string();
            (error, text)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn missing_migrations_are_applied_in_order_of_version_and_once() {
    let (db, _directory) = fresh().await;
    assert_eq!(db.migrate(&Migrations::new([TAGS, NOTES])).await.unwrap().versions, [1, 2]);
    assert!(db.migrate(&Migrations::new([NOTES, TAGS])).await.unwrap().versions.is_empty());
    assert_eq!(count(&db).await, 0);
}

#[tokio::test]
async fn ten_databases_that_start_together_migrate_once() {
    let directory = TempDir::new().unwrap();
    let mut starts = JoinSet::new();
    for _ in 0..10 {
        let options = options(&directory);
        starts.spawn(async move {
            let db = Database::connect(options).await.unwrap();
            let applied = db.migrate(&Migrations::new([NOTES, TAGS])).await.unwrap();
            assert_eq!(count(&db).await, 0, "whoever returns finds the schema complete");
            applied.versions.len()
        });
    }
    let applied: Vec<usize> = bounded(starts.join_all()).await;
    assert_eq!(applied.iter().sum::<usize>(), 2, "{applied:?}");
}

#[tokio::test]
async fn a_changed_migration_is_named_and_nothing_is_applied() {
    let (db, _directory) = fresh().await;
    db.migrate(&Migrations::new([NOTES])).await.unwrap();
    let changed = Migration::sql(1, "notes", "CREATE TABLE notes (id BIGINT)");
    let (error, text) = reason(db.migrate(&Migrations::new([changed, TAGS])).await);
    assert!(matches!(error, MigrationError::Changed { version: 1, .. }));
    assert!(text.contains("migration 1 `notes` was changed") && text.contains("new migration"), "{text}");
    assert!(db.query("SELECT name FROM tags").fetch_all().await.is_err());
}

#[tokio::test]
async fn a_binary_older_than_the_database_is_told_so() {
    let (db, _directory) = fresh().await;
    db.migrate(&Migrations::new([NOTES, TAGS])).await.unwrap();
    let (error, text) = reason(db.migrate(&Migrations::new([NOTES])).await);
    assert!(matches!(error, MigrationError::Missing { version: 2, newest_known: 1, .. }));
    assert!(text.contains("`tags`") && text.contains("deploy the newer binary"), "{text}");
}

#[tokio::test]
async fn a_migration_that_stopped_half_way_must_be_repaired_first() {
    let (db, _directory) = fresh().await;
    db.migrate(&Migrations::new([NOTES])).await.unwrap();
    db.query("UPDATE _sqlx_migrations SET success = 0").execute().await.unwrap();
    let (error, text) = reason(db.migrate(&Migrations::new([NOTES, TAGS])).await);
    assert!(matches!(error, MigrationError::Dirty { version: 1, .. }));
    assert!(text.contains("repair the schema by hand"), "{text}");
}

#[tokio::test]
async fn a_failing_migration_is_rolled_back_and_can_be_mended() {
    let (db, _directory) = fresh().await;
    let broken = Migration::sql(2, "tags", "CREATE TABLE tags (name TEXT); CREATE TABEL oops;");
    let (error, text) = reason(db.migrate(&Migrations::new([NOTES, broken])).await);
    assert!(matches!(error, MigrationError::Failed { version: 2, name: "tags", .. }));
    assert!(text.contains("near \"TABEL\": syntax error"), "{text}");
    assert_eq!(db.migrate(&Migrations::new([NOTES, TAGS])).await.unwrap().versions, [2]);
}

#[tokio::test]
async fn two_migrations_with_one_version_are_refused() {
    let (db, _directory) = fresh().await;
    let clash = Migration::sql(1, "other", "CREATE TABLE other (id BIGINT)");
    let (_, text) = reason(db.migrate(&Migrations::new([NOTES, clash])).await);
    assert!(text.contains("`notes` and `other` both have version 1"), "{text}");
}

#[tokio::test]
async fn the_status_lists_both_sides_and_changes_nothing() {
    let (db, _directory) = fresh().await;
    let states = async |known: [Migration; 2]| {
        let status = db.migration_status(&Migrations::new(known)).await.unwrap();
        status.into_iter().map(|one| (one.version, one.state)).collect::<Vec<_>>()
    };
    use MigrationState::{Applied, Changed, Missing, Pending};
    assert_eq!(states([NOTES, TAGS]).await, [(1, Pending), (2, Pending)]);
    db.migrate(&Migrations::new([NOTES, TAGS])).await.unwrap();
    assert_eq!(states([NOTES, TAGS]).await, [(1, Applied), (2, Applied)]);
    let changed = Migration::sql(1, "notes", "");
    let third = Migration::sql(3, "third", "");
    assert_eq!(states([changed, third]).await, [(1, Changed), (2, Missing), (3, Pending)]);
}

#[tokio::test]
async fn a_migration_dropped_half_way_frees_the_lock_for_the_next() {
    let (db, directory) = fresh().await;
    let other = Database::connect(options(&directory)).await.unwrap();
    let slow = Migration::sql(
        1,
        "notes",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT);
         INSERT INTO notes (body) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT i FROM n;",
    );
    let started = tokio::spawn({
        let slow = slow.clone();
        async move { db.migrate(&Migrations::new([slow])).await }
    });
    let lock = directory.path().join("data/test.db.migrate.lock");
    crate::support::eventually(|| lock.exists()).await;
    started.abort();
    let _ = started.await;
    bounded(other.migrate(&Migrations::new([slow]))).await.unwrap();
    assert_eq!(count(&other).await, 300_000);
}
