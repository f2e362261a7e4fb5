use mainstay_sql::{Database, Dialect, Error, Migration, MigrationError, MigrationState, Migrations};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::{NOTES, Store, bounded, count, on_each_database, options};

on_each_database!(
    missing_migrations_are_applied_in_order_of_version_and_once,
    ten_databases_that_start_together_migrate_once,
    a_changed_migration_is_named_and_nothing_is_applied,
    a_binary_older_than_the_database_is_told_so,
    a_migration_that_stopped_half_way_must_be_repaired_first,
    a_failing_migration_is_undone_or_said_to_be_half_done_and_can_be_mended,
    two_migrations_with_one_version_are_refused,
    the_status_lists_both_sides_and_changes_nothing,
);

const TAGS: Migration =
    Migration::sql(2, "tags", "CREATE TABLE tags (name VARCHAR(64));\nCREATE INDEX tag ON tags (name);");

fn reason(result: Result<mainstay_sql::Applied, Error>) -> (MigrationError, String) {
    match result.unwrap_err() {
        Error::Migration(error) => {
            let text = error.to_string();
            (error, text)
        }
        other => panic!("{other:?}"),
    }
}

async fn missing_migrations_are_applied_in_order_of_version_and_once(store: Store) {
    let db = store.connect().await;
    assert_eq!(db.migrate(&Migrations::new([TAGS, NOTES])).await.unwrap().versions, [1, 2]);
    assert!(db.migrate(&Migrations::new([NOTES, TAGS])).await.unwrap().versions.is_empty());
    assert_eq!(count(&db).await, 0);
}

async fn ten_databases_that_start_together_migrate_once(store: Store) {
    let mut starts = JoinSet::new();
    for _ in 0..10 {
        let options = store.options();
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

async fn a_changed_migration_is_named_and_nothing_is_applied(store: Store) {
    let db = store.connect().await;
    db.migrate(&Migrations::new([NOTES])).await.unwrap();
    let changed = Migration::sql(1, "notes", "CREATE TABLE notes (id BIGINT)");
    let (error, text) = reason(db.migrate(&Migrations::new([changed, TAGS])).await);
    assert!(matches!(error, MigrationError::Changed { version: 1, .. }));
    assert!(text.contains("migration 1 `notes` was changed") && text.contains("new migration"), "{text}");
    assert!(db.query("SELECT name FROM tags").fetch_all().await.is_err());
}

async fn a_binary_older_than_the_database_is_told_so(store: Store) {
    let db = store.connect().await;
    db.migrate(&Migrations::new([NOTES, TAGS])).await.unwrap();
    let (error, text) = reason(db.migrate(&Migrations::new([NOTES])).await);
    assert!(matches!(error, MigrationError::Missing { version: 2, newest_known: 1, .. }));
    assert!(text.contains("`tags`") && text.contains("deploy the newer binary"), "{text}");
}

async fn a_migration_that_stopped_half_way_must_be_repaired_first(store: Store) {
    let db = store.connect().await;
    db.migrate(&Migrations::new([NOTES])).await.unwrap();
    db.query("UPDATE _sqlx_migrations SET success = FALSE").execute().await.unwrap();
    let (error, text) = reason(db.migrate(&Migrations::new([NOTES, TAGS])).await);
    assert!(matches!(error, MigrationError::Dirty { version: 1, .. }));
    assert!(text.contains("repair the schema by hand"), "{text}");
}

async fn a_failing_migration_is_undone_or_said_to_be_half_done_and_can_be_mended(store: Store) {
    let db = store.connect().await;
    let broken = Migration::sql(2, "tags", "CREATE TABLE tags (name TEXT); CREATE TABEL oops;");
    let (error, text) = reason(db.migrate(&Migrations::new([NOTES, broken.clone()])).await);
    assert!(text.contains("TABEL") && text.contains("syntax"), "{text}");
    if store.is(Dialect::Mysql) {
        assert!(matches!(error, MigrationError::Partial { version: 2, name: "tags", .. }), "{text}");
        let again = reason(db.migrate(&Migrations::new([NOTES, broken])).await).0;
        assert!(matches!(again, MigrationError::Dirty { version: 2, .. }), "{again}");
        db.query("DROP TABLE tags").execute().await.unwrap();
        db.query("DELETE FROM _sqlx_migrations WHERE version = 2").execute().await.unwrap();
    } else {
        assert!(matches!(error, MigrationError::Failed { version: 2, name: "tags", .. }), "{text}");
    }
    assert_eq!(db.migrate(&Migrations::new([NOTES, TAGS])).await.unwrap().versions, [2]);
}

async fn two_migrations_with_one_version_are_refused(store: Store) {
    let db = store.connect().await;
    let clash = Migration::sql(1, "other", "CREATE TABLE other (id BIGINT)");
    let (_, text) = reason(db.migrate(&Migrations::new([NOTES, clash])).await);
    assert!(text.contains("`notes` and `other` both have version 1"), "{text}");
}

async fn the_status_lists_both_sides_and_changes_nothing(store: Store) {
    let db = store.connect().await;
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
    let directory = TempDir::new().unwrap();
    let db = Database::connect(options(&directory)).await.unwrap();
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
