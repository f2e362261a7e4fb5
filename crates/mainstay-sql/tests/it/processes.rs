//! Several processes on one file. A test starts this very binary again; each child runs `child` below.

use std::process::{Command, Stdio};

use mainstay_sql::{Database, Migrations, Options};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::{NOTES, bounded, count, insert, options};

const DATABASE: &str = "MAINSTAY_SQL_TEST_DATABASE";

#[test]
#[ignore = "started as a child process by the other test of this module"]
fn child() {
    let path = std::env::var_os(DATABASE).expect("set by the parent");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let db = Database::connect(Options::sqlite(path)).await.unwrap();
        let applied = db.migrate(&Migrations::new([NOTES])).await.unwrap();
        println!("applied {}", applied.versions.len());
        for n in 0..100 {
            insert(&db, &format!("{} {n}", std::process::id())).await.unwrap();
        }
        db.close().await;
    });
}

#[test]
fn processes_that_start_together_migrate_once_and_all_their_writes_land() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("data/test.db");
    let children: Vec<_> = (0..4)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "processes::child", "--ignored", "--nocapture"])
                .env(DATABASE, &path)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut migrated = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        migrated += usize::from(text.contains("applied 1"));
    }
    assert_eq!(migrated, 1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let db = runtime.block_on(Database::connect(Options::sqlite(&path))).unwrap();
    assert_eq!(runtime.block_on(count(&db)), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_databases_on_one_file_can_both_write_and_every_write_lands() {
    let directory = TempDir::new().unwrap();
    let first = Database::connect(options(&directory)).await.unwrap();
    first.migrate(&Migrations::new([NOTES])).await.unwrap();
    let second = Database::connect(options(&directory)).await.unwrap();
    let mut writers = JoinSet::new();
    for (writer, db) in [&first, &second, &first, &second].into_iter().enumerate() {
        let db = db.clone();
        writers.spawn(async move {
            for n in 0..50 {
                let mut tx = db.begin().await.unwrap();
                let known = tx.query("SELECT count(*) AS total FROM notes").fetch_one().await.unwrap();
                let body = format!("{writer} {n} {}", known.get::<i64>("total").unwrap());
                tx.query("INSERT INTO notes (body) VALUES (?)").bind(body).execute().await.unwrap();
                tx.commit().await.unwrap();
            }
        });
    }
    bounded(writers.join_all()).await;
    assert_eq!(count(&first).await, 200);
    assert_eq!(count(&second).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_connections_can_create_one_fresh_file_at_once() {
    for _ in 0..10 {
        let directory = TempDir::new().unwrap();
        let mut starts = JoinSet::new();
        for _ in 0..20 {
            starts.spawn(Database::connect(options(&directory)));
        }
        for db in bounded(starts.join_all()).await {
            db.unwrap();
        }
    }
}
