//! What tests of a part stand on.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay::auth::seal::{KeyRing, Sealer};
use mainstay::event::{self, Events};
use mainstay::metrics::Metrics;
use mainstay::secret::Secret;
use mainstay::sql::event::SqlEvents;
use mainstay::sql::{Database, Options};
use mainstay::time::Clock;
use tempfile::TempDir;

use crate::migrations;
use crate::users::{Consequences, Vault};

/// A database in a file, with every table.
pub(crate) async fn sqlite() -> (Database, TempDir) {
    let directory = TempDir::new().unwrap();
    (migrated(Options::sqlite(directory.path().join("users.db"))).await, directory)
}

/// A database in memory, with every table.
pub(crate) async fn in_memory() -> Database {
    migrated(Options::sqlite_in_memory()).await
}

/// A database on the server of that kind that all tests share, with every table.
#[cfg(all(feature = "postgres", feature = "mysql"))]
pub(crate) async fn on_server(kind: mainstay_testkit::sql::Kind) -> Database {
    let server = mainstay_testkit::sql::SqlServer::shared(kind);
    migrated(Options::from_url(&server.url(&server.database())).unwrap()).await
}

async fn migrated(options: Options) -> Database {
    let db = Database::connect(options).await.unwrap();
    db.migrate(&migrations().with_events().with_sessions()).await.unwrap();
    db
}

/// Seals under a key of the tests' own.
pub(crate) fn vault() -> Vault {
    let ring = KeyRing::parse(Some(&Secret::new("0f".repeat(32))), None).unwrap().unwrap();
    Vault::new(Sealer::new(&ring))
}

/// For users whose rights nobody keeps.
pub(crate) struct NothingFollows;

#[async_trait]
impl Consequences for NothingFollows {
    async fn role_changed(&self, _: &str) {}
    async fn deleted(&self, _: &str) {}
}

/// Events in that database.
pub(crate) fn events(db: &Database) -> Events {
    let store = SqlEvents::new(db, mainstay::sql::event::Options::default(), Clock::system());
    Events::new(Arc::new(store), event::Options::default(), &Metrics::new(), Clock::system())
}
