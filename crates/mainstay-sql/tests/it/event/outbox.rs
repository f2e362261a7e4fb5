//! From the database to another store.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::store::{Opening, Published, Store, Transactional};
use mainstay_core::event::{Bounds, Envelope, Kind, Memory, Pattern, Queue};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_sql::Database;
use mainstay_sql::outbox::{Options, Outbox};
use mainstay_testkit::eventually_async;
use mainstay_testkit::faulty::event::FaultyStore;
use mainstay_testkit::faulty::{Fault, Faults};
use tempfile::TempDir;
use tokio::sync::watch;

use super::{PATIENCE, database, event, handled, queue};

fn memory(queue: usize) -> Memory {
    let mut bounds = Bounds::default();
    bounds.queue = queue;
    Memory::new(bounds, Clock::system())
}

fn start(db: &Database, store: &Arc<dyn Store>, epochs: &watch::Sender<u64>) -> Outbox {
    start_with(db, store, epochs, Options::default())
}

fn start_with(
    db: &Database,
    store: &Arc<dyn Store>,
    epochs: &watch::Sender<u64>,
    options: Options,
) -> Outbox {
    let store = Arc::clone(store);
    Outbox::start(db, store, epochs.subscribe(), options, &Metrics::new(), Clock::system())
}

fn of(kind: &str, number: u64) -> Arc<Envelope> {
    let mut event = Envelope::clone(&event(number));
    event.kind = Kind::new(kind).unwrap();
    Arc::new(event)
}

async fn record(db: &Database, events: &[Arc<Envelope>]) -> Published {
    let mut tx = db.begin().await.unwrap();
    let recorded = tx.record(events).await.unwrap();
    tx.commit().await.unwrap();
    recorded
}

async fn publish(db: &Database, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let mut tx = db.begin().await.unwrap();
        tx.record(&[event(number)]).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// What arrives, until there are so many.
async fn arrived(store: &Arc<dyn Store>, many: usize) -> Vec<u64> {
    let mut got = Vec::new();
    while got.len() < many {
        let more = handled(&**store, &queue("a"), PATIENCE).await;
        assert!(!more.is_empty(), "only {got:?} arrived");
        got.extend(more);
    }
    got
}

async fn relayed(db: &Database) {
    eventually_async("everything is marked", PATIENCE, async || {
        let sql = "SELECT COUNT(*) AS n FROM mainstay_outbox WHERE relayed_at IS NULL";
        db.query(sql).fetch_one().await.unwrap().get::<i64>("n").unwrap() == 0
    })
    .await;
}

#[tokio::test]
async fn what_committed_is_relayed_in_order_and_what_did_not_is_not() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let store: Arc<dyn Store> = Arc::new(memory(1_000));
    store.open(&queue("a"), Opening::NOW).await.unwrap();
    let epochs = watch::Sender::new(0);
    let outbox = start(&db, &store, &epochs);
    publish(&db, 0..50).await;
    let mut tx = db.begin().await.unwrap();
    tx.record(&[event(99)]).await.unwrap();
    tx.rollback().await.unwrap();
    publish(&db, 50..150).await;
    assert_eq!(arrived(&store, 150).await, (0..150).collect::<Vec<_>>());
    relayed(&db).await;
    outbox.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_away_gets_everything_when_it_is_back() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let faults = Faults::none();
    let inner = memory(1_000);
    inner.open(&queue("a"), Opening::NOW).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(inner, faults.clone()));
    faults.always(Fault::Unavailable);
    let epochs = watch::Sender::new(0);
    let outbox = start(&db, &store, &epochs);
    publish(&db, 0..20).await;
    eventually_async("they are seen to wait", PATIENCE, async || {
        outbox.waiting().0 == 20 || {
            // The first look may have been before the first commit.
            tokio::time::sleep(Duration::from_millis(10)).await;
            false
        }
    })
    .await;
    faults.mend();
    assert_eq!(arrived(&store, 20).await, (0..20).collect::<Vec<_>>());
    relayed(&db).await;
}

#[tokio::test]
async fn a_full_queue_takes_what_it_has_room_for_and_the_rest_later_in_order() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let store: Arc<dyn Store> = Arc::new(memory(5));
    store.open(&queue("a"), Opening::NOW).await.unwrap();
    publish_before_start(&db, &store, 30).await;
    let epochs = watch::Sender::new(0);
    let _outbox = start(&db, &store, &epochs);
    assert_eq!(arrived(&store, 30).await, (0..30).collect::<Vec<_>>());
}

/// Events that a process left behind which died before it relayed them.
async fn publish_before_start(db: &Database, store: &Arc<dyn Store>, many: u64) {
    let faults = Faults::none();
    faults.always(Fault::Unavailable);
    let away: Arc<dyn Store> = Arc::new(FaultyStore::new(memory(1), faults));
    let epochs = watch::Sender::new(0);
    let first = start(db, &away, &epochs);
    publish(db, 0..many).await;
    first.stop(PATIENCE).await.unwrap();
    assert!(store.stats().await.unwrap().iter().all(|stats| stats.queued == 0));
}

#[tokio::test]
async fn what_the_store_lost_is_published_again_and_what_it_kept_is_not_delivered_twice() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let epochs = watch::Sender::new(0);
    let before: Arc<dyn Store> = Arc::new(memory(1_000));
    before.open(&queue("a"), Opening::NOW).await.unwrap();
    let outbox = start(&db, &before, &epochs);
    publish(&db, 0..10).await;
    assert_eq!(arrived(&before, 10).await.len(), 10);
    relayed(&db).await;
    // The store still has them all.
    epochs.send_modify(|epoch| *epoch += 1);
    publish(&db, [10]).await;
    assert_eq!(arrived(&before, 1).await, [10]);
    relayed(&db).await;
    outbox.stop(PATIENCE).await.unwrap();
    // Its successor has heard of none.
    let after: Arc<dyn Store> = Arc::new(memory(1_000));
    after.open(&queue("a"), Opening::NOW).await.unwrap();
    let _outbox = start(&db, &after, &epochs);
    assert_eq!(arrived(&after, 11).await, (0..11).collect::<Vec<_>>());
}

#[tokio::test]
async fn several_processes_on_one_database_keep_the_order() {
    let directory = TempDir::new().unwrap();
    let store: Arc<dyn Store> = Arc::new(memory(10_000));
    store.open(&queue("a"), Opening::NOW).await.unwrap();
    let epochs = watch::Sender::new(0);
    let dbs = [database(&directory).await, database(&directory).await, database(&directory).await];
    let outboxes = [0, 1, 2].map(|n: usize| start(&dbs[n], &store, &epochs));
    for number in 0..90 {
        publish(&dbs[usize::try_from(number % 3).unwrap()], [number]).await;
        if number == 45 {
            outboxes[0].stop(PATIENCE).await.unwrap();
        }
    }
    assert_eq!(arrived(&store, 90).await, (0..90).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_process_whose_events_another_relays_meets_back_pressure_too_and_only_as_long_as_they_wait() {
    let directory = TempDir::new().unwrap();
    let (relaying, other) = (database(&directory).await, database(&directory).await);
    let faults = Faults::none();
    faults.always(Fault::Unavailable);
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(memory(1_000), faults.clone()));
    let epochs = watch::Sender::new(0);
    let mut options = Options::default();
    options.max_waiting = 3;
    let relay = start_with(&relaying, &store, &epochs, options);
    assert_eq!(record(&relaying, &[event(0), event(1), event(2)]).await, Published::Accepted);
    eventually_async("the one that relays sees them wait", PATIENCE, async || relay.waiting().0 == 3).await;
    let outbox = start_with(&other, &store, &epochs, options);
    eventually_async("the other sees them wait", PATIENCE, async || outbox.waiting().0 == 3).await;
    assert_eq!(record(&other, &[event(3)]).await, Published::Full);
    faults.mend();
    relayed(&relaying).await;
    eventually_async("the other sees them go", PATIENCE, async || outbox.waiting().0 == 0).await;
    assert_eq!(record(&other, &[event(4)]).await, Published::Accepted);
}

#[tokio::test]
async fn what_may_be_lost_goes_out_once_more_and_not_with_every_attempt_of_what_is_stuck() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let (inner, faults) = (memory(1), Faults::none());
    inner.open(&queue("a"), Opening::NOW).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(inner, faults.clone()));
    let epochs = watch::Sender::new(0);
    let _outbox = start(&db, &store, &epochs);
    record(&db, &[of("order.placed", 0)]).await;
    relayed(&db).await;
    let relayed_at = async || {
        let sql = "SELECT MIN(relayed_at) AS at FROM mainstay_outbox WHERE topic = 'order'";
        db.query(sql).fetch_one().await.unwrap().get::<Option<i64>>("at").unwrap()
    };
    let before = relayed_at().await;
    // Of these one has room.
    record(&db, &[event(1), event(2)]).await;
    epochs.send_modify(|epoch| *epoch += 1);
    eventually_async("it goes out again", PATIENCE, async || {
        relayed_at().await.is_some_and(|at| at > before.unwrap())
    })
    .await;
    let (again, calls) = (relayed_at().await, faults.calls());
    eventually_async("the rest is tried", PATIENCE, async || faults.calls() >= calls + 4).await;
    assert_eq!(relayed_at().await, again);
}

#[tokio::test]
async fn a_topic_that_is_never_done_does_not_keep_others_waiting() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let store: Arc<dyn Store> = Arc::new(memory(100_000));
    let orders = Queue::shared("a".into(), Pattern::new("order.*").unwrap());
    store.open(&orders, Opening::NOW).await.unwrap();
    let epochs = watch::Sender::new(0);
    let _outbox = start(&db, &store, &epochs);
    let flood = async {
        for round in 0.. {
            let events: Vec<_> = (0..200).map(event).collect();
            record(&db, &events).await;
            if round == 2 {
                record(&db, &[of("order.placed", 0)]).await;
            }
        }
    };
    tokio::select! {
        () = flood => unreachable!("it has no end"),
        got = handled(&*store, &orders, Duration::from_secs(10)) => assert_eq!(got, [0]),
    }
}

#[tokio::test]
async fn large_events_do_not_go_to_the_store_in_one_question_that_takes_too_long() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let faults = Faults::none();
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(memory(1_000), faults.clone()));
    let epochs = watch::Sender::new(0);
    let _outbox = start(&db, &store, &epochs);
    let large = |number| {
        let mut event = Envelope::clone(&event(number));
        event.data = format!("\"{}\"", "x".repeat(100_000)).into_bytes().into();
        Arc::new(event)
    };
    let before = faults.calls();
    record(&db, &(0..32).map(large).collect::<Vec<_>>()).await;
    relayed(&db).await;
    let questions = faults.calls() - before;
    assert!((8..=32).contains(&questions), "3.2 MB in {questions} questions");
}

#[tokio::test]
async fn what_goes_out_once_more_does_not_count_as_waiting() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let faults = Faults::none();
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(memory(1_000), faults.clone()));
    let epochs = watch::Sender::new(0);
    let mut options = Options::default();
    options.max_waiting = 3;
    let outbox = start_with(&db, &store, &epochs, options);
    for number in 0..5 {
        record(&db, &[event(number)]).await;
        relayed(&db).await;
    }
    faults.always(Fault::Unavailable);
    let calls = faults.calls();
    epochs.send_modify(|epoch| *epoch += 1);
    eventually_async("they are tried", PATIENCE, async || faults.calls() >= calls + 2).await;
    assert_eq!(record(&db, &[event(5)]).await, Published::Accepted);
    eventually_async("it waits", PATIENCE, async || outbox.waiting().0 == 1).await;
}
