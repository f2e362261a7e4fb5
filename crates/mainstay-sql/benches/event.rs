//! What an event in SQLite costs: publishing against a bare `INSERT`, from publish to done against a queue table
//! written by hand, and publishing in a transaction against an `INSERT` in its place. Every commit waits for the disk
//! (write-ahead log, `synchronous = FULL`) on both sides; theirs is sqlx with a pool of one writer, in the same run.
//!
//! `cargo bench -p mainstay-sql --bench event`; each figure is the median of the samples.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_core::codec::Codec;
use mainstay_core::event::store::{Opening, Store};
use mainstay_core::event::{self, Envelope, Event, EventId, Events, Kind, Pattern, Queue};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_sql::event::{Options, SqlEvents};
use mainstay_sql::{Database, Migration, Migrations, Synchronous};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::Instant;

const SAMPLES: usize = 5;
/// A busy machine is no reason to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most events handled at once, by both sides.
const BATCH: usize = 256;
const DATA: &str = r#"{"id":"01a20653-c19f-7454-a87c-2b1405338019","version":1}"#;

/// Microseconds for each event, and of the time each publisher waited the median and the 99th percentile.
struct Cost {
    each: f64,
    p50: f64,
    p99: f64,
}

/// Events in a sample: one publisher waits for the disk with each, many may wait together.
fn many(publishers: usize) -> usize {
    if publishers == 1 { 320 } else { 20 * publishers }
}

/// `publish` is called for each event by so many publishers; `done` waits until all are handled.
async fn measure<F, D>(
    publishers: usize,
    publish: impl Fn() -> F + Clone + Send + 'static,
    done: impl Fn(usize) -> D,
) -> Cost
where
    F: Future<Output = ()> + Send + 'static,
    D: Future<Output = ()>,
{
    let events = many(publishers);
    let (mut samples, mut waits) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let start = Instant::now();
        let tasks: Vec<_> = (0..publishers)
            .map(|_| {
                let publish = publish.clone();
                tokio::spawn(async move {
                    let mut waits = Vec::with_capacity(events / publishers);
                    for _ in 0..events / publishers {
                        let start = Instant::now();
                        publish().await;
                        waits.push(start.elapsed().as_secs_f64() * 1e6);
                    }
                    waits
                })
            })
            .collect();
        for task in tasks {
            waits.extend(task.await.expect("a case panicked"));
        }
        done(events).await;
        samples.push(start.elapsed().as_secs_f64() * 1e6 / events as f64);
    }
    samples.sort_by(f64::total_cmp);
    waits.sort_by(f64::total_cmp);
    let at = |percent: usize| waits[waits.len() * percent / 100];
    Cost { each: samples[SAMPLES / 2], p50: at(50), p99: at(99) }
}

/// Nothing is handled.
async fn published(_: usize) {}

/// Waits until so many more are handled.
async fn until(handled: &AtomicUsize, bell: &Notify, events: usize) {
    while handled.load(Ordering::Relaxed) < events {
        bell.notified().await;
    }
    handled.fetch_sub(events, Ordering::Relaxed);
}

async fn bare(directory: &TempDir) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(directory.path().join("bare.db"))
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_with(options);
    let pool = pool.await.expect("a database");
    let table = "CREATE TABLE queue (id INTEGER PRIMARY KEY, body TEXT NOT NULL, claimed INTEGER NOT NULL)";
    sqlx::query(table).execute(&pool).await.expect("a table");
    sqlx::query("CREATE INDEX queue_next ON queue (claimed, id)").execute(&pool).await.expect("an index");
    pool
}

/// The bytes that an event is kept as.
fn body() -> String {
    let (now, kind) = (jiff::Timestamp::now(), Kind::new("user.created").expect("a type"));
    let data = Codec::Json.encode(DATA).expect("text");
    Envelope::new(EventId::at(now), "bench".into(), kind, now, Codec::Json, data).to_cloud_event()
}

async fn insert(pool: SqlitePool) {
    let insert = sqlx::query("INSERT INTO queue (body, claimed) VALUES (?, 0)").bind(body());
    insert.execute(&pool).await.expect("inserted");
}

/// One worker by hand: a batch is claimed in one transaction, handled by doing nothing, and deleted in another.
async fn work_by_hand(pool: SqlitePool, handled: Arc<AtomicUsize>, bell: Arc<Notify>, filled: Arc<Notify>) {
    loop {
        let claim = "UPDATE queue SET claimed = 1 WHERE id IN \
                     (SELECT id FROM queue WHERE claimed = 0 ORDER BY id LIMIT ?) RETURNING id, body";
        let claim = sqlx::query_as(claim).bind(i64::try_from(BATCH).expect("few"));
        let claimed: Vec<(i64, String)> = claim.fetch_all(&pool).await.expect("claimed");
        if claimed.is_empty() {
            filled.notified().await;
            continue;
        }
        let mut tx = pool.begin().await.expect("a transaction");
        for (id, body) in &claimed {
            Envelope::from_cloud_event(body).expect("an event");
            let delete = sqlx::query("DELETE FROM queue WHERE id = ?").bind(id);
            delete.execute(&mut *tx).await.expect("deleted");
        }
        tx.commit().await.expect("committed");
        handled.fetch_add(claimed.len(), Ordering::Relaxed);
        bell.notify_one();
    }
}

async fn database(directory: &TempDir) -> Database {
    let options = mainstay_sql::Options::sqlite(directory.path().join("ours.db"));
    let db = Database::connect(options.synchronous(Synchronous::Full)).await.expect("a database");
    let notes = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL)";
    let migrations = Migrations::new([Migration::sql(1, "notes", notes)]).with_events();
    db.migrate(&migrations).await.expect("migrated");
    db
}

fn store(db: &Database) -> Arc<SqlEvents> {
    let mut bounds = Options::default();
    bounds.max_queue = 1_000_000;
    Arc::new(SqlEvents::new(db, bounds, Clock::system()))
}

fn bus(store: Arc<SqlEvents>) -> Events {
    let mut options = event::Options::new("bench");
    options.op_timeout = PATIENCE;
    options.concurrency = BATCH;
    Events::new(store, options, &Metrics::new(), Clock::system())
}

async fn publish(events: Events) {
    events.publish("user.created", DATA).await.expect("published");
}

/// There is no queue: the event is kept and nothing else.
async fn publishing(publishers: usize, directory: &TempDir) -> (Cost, Cost) {
    let pool = bare(directory).await;
    let theirs = measure(publishers, move || insert(pool.clone()), published).await;
    let db = database(directory).await;
    let events = bus(store(&db));
    let ours = measure(publishers, move || publish(events.clone()), published).await;
    (theirs, ours)
}

async fn handling(publishers: usize, directory: &TempDir) -> (Cost, Cost) {
    let pool = bare(directory).await;
    let (handled, bell) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let filled = Arc::new(Notify::new());
    let working = tokio::spawn(work_by_hand(
        pool.clone(),
        Arc::clone(&handled),
        Arc::clone(&bell),
        Arc::clone(&filled),
    ));
    let fill = move || {
        let (pool, filled) = (pool.clone(), Arc::clone(&filled));
        async move {
            insert(pool).await;
            filled.notify_one();
        }
    };
    let theirs = measure(publishers, fill, |events| until(&handled, &bell, events)).await;
    working.abort();
    let db = database(directory).await;
    let events = bus(store(&db));
    let (handled, bell) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (count, ring) = (Arc::clone(&handled), Arc::clone(&bell));
    let handler = move |_: Event<String>| {
        count.fetch_add(1, Ordering::Relaxed);
        ring.notify_one();
        async {}
    };
    events.on("user.created").group("bench").handle(handler).await.expect("subscribed");
    let publishing = events.clone();
    let ours =
        measure(publishers, move || publish(publishing.clone()), |number| until(&handled, &bell, number))
            .await;
    events.stop(PATIENCE).await.expect("stopped");
    (theirs, ours)
}

/// Both in a transaction with an `INSERT` of the service's own. There is a queue that takes the events.
async fn in_transactions(publishers: usize, directory: &TempDir) -> (Cost, Cost) {
    let db = database(directory).await;
    let plain = db.clone();
    let plain = move || {
        let db = plain.clone();
        async move {
            let mut tx = db.begin().await.expect("a transaction");
            for body in [DATA.to_owned(), body()] {
                let insert = tx.query("INSERT INTO notes (body) VALUES (?)").bind(body);
                insert.execute().await.expect("inserted");
            }
            tx.commit().await.expect("committed");
        }
    };
    let theirs = measure(publishers, plain, published).await;
    let store = store(&db);
    let queue = Queue::shared("bench".into(), Pattern::new("user.created").expect("a type"));
    store.open(&queue, Opening::NOW).await.expect("opened");
    let events = bus(store);
    let with_event = move || {
        let (db, events) = (db.clone(), events.clone());
        async move {
            let mut tx = db.begin().await.expect("a transaction");
            let insert = tx.query("INSERT INTO notes (body) VALUES (?)").bind(DATA);
            insert.execute().await.expect("inserted");
            events.publish_in(&mut tx, "user.created", DATA).await.expect("published");
            tx.commit().await.expect("committed");
        }
    };
    let ours = measure(publishers, with_event, published).await;
    (theirs, ours)
}

fn line(what: &str, publishers: usize, (theirs, ours): &(Cost, Cost)) {
    println!(
        "{what:<34} {publishers:>3} {:>8.1} {:>8.1} {:>10.2} {:>8.0} {:>8.0} {:>8.0} {:>8.0}",
        theirs.each,
        ours.each,
        theirs.each / ours.each,
        theirs.p50,
        ours.p50,
        theirs.p99,
        ours.p99
    );
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        println!("µs per event                         n     bare     ours throughput bare p50 ours p50 bare p99 ours p99");
        for publishers in [1, 64] {
            let fresh = || TempDir::new().expect("a directory");
            line("publish / INSERT", publishers, &publishing(publishers, &fresh()).await);
            line("publish, handle, done / by hand", publishers, &handling(publishers, &fresh()).await);
            line("in a transaction / INSERT there", publishers, &in_transactions(publishers, &fresh()).await);
        }
    });
}
