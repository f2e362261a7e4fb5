use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mainstay_sql::{Database, Error, Options};
use tempfile::TempDir;

use crate::support::{bounded, count, file, insert, options};

async fn refused(path: impl AsRef<Path>) -> Error {
    bounded(Database::connect(Options::sqlite(path.as_ref()))).await.unwrap_err()
}

/// `/sys` refuses new files and directories to everyone, root included.
#[tokio::test]
async fn a_read_only_directory_is_named_with_the_remedy() {
    for path in ["/sys/kernel/mainstay.db", "/sys/mainstay/data.db"] {
        let error = refused(path).await;
        assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(path) && text.contains("DATABASE_URL"), "{text}");
        assert!(!error.is_transient());
    }
}

/// `/proc/version` is a file that nobody may write.
#[tokio::test]
async fn a_read_only_file_is_refused_at_start_and_not_at_the_first_write() {
    let error = refused("/proc/version").await;
    assert!(matches!(error, Error::ReadOnly { .. } | Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("/proc/version"), "{error}");
}

#[tokio::test]
async fn a_corrupt_file_is_named_with_the_remedy_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("users.db");
    let garbage = "not a database, but somebody's only copy of something. ".repeat(100);
    fs::write(&path, &garbage).unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, Error::Corrupt { .. }) && !error.is_transient(), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("users.db") && text.contains("restore it from a backup, or move it away"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), garbage);
}

#[tokio::test]
async fn a_database_damaged_in_the_middle_is_an_error_and_not_a_panic() {
    let (db, directory) = file(|o| o).await;
    for n in 0..500 {
        insert(&db, &format!("{n} {}", "x".repeat(100))).await.unwrap();
    }
    db.close().await;
    let path = directory.path().join("data/test.db");
    let mut bytes = fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[4096..length].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let db = Database::connect(options(&directory)).await.unwrap();
    let error = db.query("SELECT body FROM notes ORDER BY id").fetch_all().await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_directory_instead_of_a_file_is_explained() {
    let directory = TempDir::new().unwrap();
    let text = refused(directory.path()).await.to_string();
    assert!(text.contains("is a directory; name a file in it"), "{text}");
}

#[tokio::test]
async fn a_file_in_the_way_of_the_directory_is_explained() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("data");
    fs::write(&file, "").unwrap();
    let text = refused(file.join("users.db")).await.to_string();
    assert!(text.contains("cannot create") && text.contains("users.db"), "{text}");
}

#[tokio::test]
async fn a_full_database_says_so_and_recovers_when_there_is_space_again() {
    let (db, _directory) = file(|o| o).await;
    insert(&db, "before").await.unwrap();
    db.query("PRAGMA max_page_count = 1").execute().await.unwrap();
    let error = loop {
        if let Err(error) = insert(&db, &format!("{}{}", count(&db).await, "x".repeat(500))).await {
            break error;
        }
    };
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("free some space"), "{error}");
    db.query("PRAGMA max_page_count = 1000000").execute().await.unwrap();
    insert(&db, "after").await.unwrap();
}

#[tokio::test]
async fn the_directory_and_every_file_are_private() {
    let (db, directory) = file(|o| o).await;
    insert(&db, "secret").await.unwrap();
    let data = directory.path().join("data");
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&data).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["test.db", "test.db-shm", "test.db-wal", "test.db.migrate.lock"]);
}

#[tokio::test]
async fn a_path_that_looks_like_a_uri_is_still_a_path() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file:x.db");
    Database::connect(Options::sqlite(&path)).await.unwrap();
    assert!(path.is_file());
}

#[tokio::test]
async fn a_bad_statement_is_reported_in_the_store_s_words() {
    let (db, _directory) = file(|o| o).await;
    let error = db.query("SELEC 1").fetch_all().await.unwrap_err();
    assert!(matches!(error, Error::Query { .. }) && error.to_string().contains("syntax error"), "{error}");
    let error = db.query("SELECT missing FROM notes").fetch_all().await.unwrap_err();
    assert!(error.to_string().contains("no such column"), "{error}");
}

#[tokio::test]
async fn a_write_lock_held_by_another_process_is_busy_and_not_unavailable() {
    let (db, directory) = file(|o| o).await;
    let other = Database::connect(options(&directory)).await.unwrap();
    db.query("PRAGMA busy_timeout = 50").execute().await.unwrap();
    let held = other.begin().await.unwrap();
    for error in [insert(&db, "blocked").await.unwrap_err(), db.begin().await.unwrap_err()] {
        assert!(matches!(error, Error::Busy { .. }) && error.is_transient(), "{error:?}");
    }
    assert_eq!(count(&db).await, 0, "reads go on");
    held.rollback().await.unwrap();
    insert(&db, "free").await.unwrap();
}
