use std::sync::Arc;

use mainstay_sql::session::SqlSessions;
use mainstay_sql::{Database, Migrations, Options};
use mainstay_testkit::conformance::session::{Backend, suite};
use tempfile::TempDir;

use crate::support::options;

async fn migrated(options: Options) -> Database {
    let db = Database::connect(options).await.unwrap();
    db.migrate(&Migrations::new([]).with_sessions()).await.unwrap();
    db
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_in_sqlite_keep_the_contract() {
    let directories = TempDir::new().unwrap();
    suite()
        .run_at_once(async || {
            let directory = TempDir::new_in(&directories).unwrap();
            let store = SqlSessions::new(migrated(options(&directory)).await);
            std::mem::drop(directory.keep());
            Backend { store: Arc::new(store) }
        })
        .await;
}
