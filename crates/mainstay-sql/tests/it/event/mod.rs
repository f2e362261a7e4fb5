//! `mainstay_sql::event`, the outbox and the inbox.

mod contract;
mod cut;
mod mutants;
mod outbox;
mod read_only;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod servers;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::store::{
    Delivery, Fetch, Opening, Published, Receipt, Standing, Start, Store, Verdict,
};
use mainstay_core::event::{Envelope, EventId, Kind, Pattern, Queue};
use mainstay_core::time::Clock;
use mainstay_sql::event::{self, SqlEvents};
use mainstay_sql::{Database, Migration, Migrations, Options, Synchronous, inbox, outbox as outboxes};
use tempfile::TempDir;

/// Longer than anything takes on a loaded machine; nothing waits this long when it works.
const PATIENCE: Duration = Duration::from_secs(30);

fn migrations() -> Migrations {
    Migrations::new([
        event::migration(1),
        outboxes::migration(2),
        inbox::migration(3),
        Migration::sql(4, "notes", "CREATE TABLE notes (id BIGINT NOT NULL)"),
    ])
}

async fn open(options: Options) -> Database {
    let db = Database::connect(options.synchronous(Synchronous::Full)).await.unwrap();
    db.migrate(&migrations()).await.unwrap();
    db
}

/// A database in a file, with every table.
async fn database(directory: &TempDir) -> Database {
    open(Options::sqlite(directory.path().join("events.db"))).await
}

fn events(db: &Database) -> SqlEvents {
    SqlEvents::new(db, event::Options::default(), Clock::system())
}

fn event(number: u64) -> Arc<Envelope> {
    let (now, kind) = (jiff::Timestamp::now(), Kind::new("user.created").unwrap());
    let data = mainstay_core::codec::Codec::Json.encode(&number).unwrap();
    let codec = mainstay_core::codec::Codec::Json;
    Arc::new(Envelope::new(EventId::at(now), "test".into(), kind, now, codec, data))
}

fn number(event: &Envelope) -> u64 {
    mainstay_core::codec::Codec::Json.decode(&event.data).unwrap()
}

fn queue(group: &str) -> Queue {
    Queue::shared(group.into(), Pattern::new("user.*").unwrap())
}

async fn opened(store: &dyn Store, group: &str) -> Queue {
    let queue = queue(group);
    store.open(&queue, Opening::NOW).await.unwrap();
    queue
}

async fn fetch(store: &dyn Store, queue: &Queue, wait: Duration) -> Vec<Delivery> {
    let want = Fetch { consumer: "test", credits: 100, visibility: PATIENCE, wait };
    store.fetch(queue, want).await.unwrap()
}

/// The numbers of what is there, which is then done.
async fn handled(store: &dyn Store, queue: &Queue, wait: Duration) -> Vec<u64> {
    let taken = fetch(store, queue, wait).await;
    for Delivery { receipt, .. } in &taken {
        done(store, queue, *receipt).await;
    }
    taken.iter().map(|delivery| number(&delivery.event)).collect()
}

async fn done(store: &dyn Store, queue: &Queue, receipt: Receipt) {
    assert_eq!(store.settle(queue, receipt, Verdict::Done).await, Ok(Standing::Held));
}

async fn publish(store: &dyn Store, numbers: impl IntoIterator<Item = u64>) -> Vec<Arc<Envelope>> {
    let events: Vec<_> = numbers.into_iter().map(event).collect();
    assert_eq!(store.publish(&events).await, Ok(Published::Accepted));
    events
}

/// The numbers of what is in the history.
async fn retained(store: &dyn Store) -> Vec<u64> {
    let history = store.history(&Pattern::new("user.*").unwrap(), Start::Oldest, 1_000).await.unwrap();
    history.events.iter().map(|event| number(event)).collect()
}
