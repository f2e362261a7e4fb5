//! The store in a database keeps the contract of event stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use mainstay_core::event::store::{Fetch, Opening, Published, Start, Store};
use mainstay_core::event::{Pattern, Queue};
use mainstay_core::store::StoreError;
use mainstay_core::time::Clock;
use mainstay_sql::Database;
use mainstay_sql::event::{Options, SqlEvents};
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::event::{Backend, suite};
use tempfile::TempDir;

use super::{
    PATIENCE, database, done, event, events, fetch, handled, number, open, opened, publish, retained,
};

const CAPACITY: usize = 6;

fn backend(db: &Database) -> Backend {
    let mut options = Options::default();
    options.max_queue = CAPACITY;
    let store: Arc<dyn Store> = Arc::new(SqlEvents::new(db, options, Clock::system()));
    Backend { store, capacity: CAPACITY, retained: 1_000, elapse: Elapse::of(tokio::time::sleep) }
}

#[tokio::test]
async fn a_file_keeps_the_contract() {
    let directory = TempDir::new().unwrap();
    let files = AtomicU64::new(0);
    let fresh = async || {
        let file = directory.path().join(format!("{}.db", files.fetch_add(1, Ordering::Relaxed)));
        backend(&open(mainstay_sql::Options::sqlite(file)).await)
    };
    steadily(async || suite().failures_at_once(&fresh).await).await;
}

#[tokio::test]
async fn a_database_in_memory_keeps_the_contract() {
    let fresh = async || backend(&open(mainstay_sql::Options::sqlite_in_memory()).await);
    steadily(async || suite().failures_at_once(&fresh).await).await;
}

/// A machine that stands still for a moment makes a short receipt lapse: what fails has to fail again.
async fn steadily(trial: impl AsyncFn() -> Vec<String>) {
    let mut failures = Vec::new();
    for _ in 0..3 {
        failures = trial().await;
        if failures.is_empty() {
            return;
        }
    }
    panic!("broken:\n{}", failures.join("\n"));
}

#[tokio::test]
async fn verbs_of_many_callers_share_a_transaction_and_each_gets_its_own_answer() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let store = events(&db);
    let queue = opened(&store, "a").await;
    let unknown = super::queue("nobody");
    let numbers: Vec<_> = (0..200).map(event).collect();
    let publishing = numbers.iter().map(|event| store.publish(std::slice::from_ref(event)));
    let failing = (0..50).map(|_| store.rewind(&unknown, Start::Oldest));
    let (published, failed) = tokio::join!(join_all(publishing), join_all(failing));
    assert!(published.iter().all(|answer| *answer == Ok(Published::Accepted)), "{published:?}");
    assert!(failed.iter().all(|answer| matches!(answer, Err(StoreError::Rejected { .. }))), "{failed:?}");
    let mut got = Vec::new();
    while got.len() < 200 {
        got.extend(handled(&store, &queue, Duration::ZERO).await);
    }
    got.sort_unstable();
    assert_eq!(got, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_that_is_given_twice_in_one_publish_is_published_once() {
    let directory = TempDir::new().unwrap();
    let store = events(&database(&directory).await);
    let queue = opened(&store, "a").await;
    let (one, two) = (event(1), event(2));
    let given = [Arc::clone(&one), two, one];
    assert_eq!(store.publish(&given).await, Ok(Published::Accepted));
    assert_eq!(handled(&store, &queue, Duration::ZERO).await, [1, 2]);
    assert_eq!(store.stats().await.unwrap()[0].unfinished(), 0);
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_restart_and_receipts_still_stand() {
    let directory = TempDir::new().unwrap();
    let (queue, receipt) = {
        let db = database(&directory).await;
        let store = events(&db);
        let queue = opened(&store, "a").await;
        publish(&store, [1, 2]).await;
        let want = Fetch { consumer: "test", credits: 1, visibility: PATIENCE, wait: Duration::ZERO };
        let taken = store.fetch(&queue, want).await.unwrap();
        drop(store);
        db.close().await;
        (queue, taken[0].receipt)
    };
    let db = database(&directory).await;
    let store = events(&db);
    assert_eq!(handled(&store, &queue, Duration::ZERO).await, [2]);
    done(&store, &queue, receipt).await;
    assert_eq!(store.stats().await.unwrap()[0].unfinished(), 0);
}

#[tokio::test]
async fn an_event_of_another_process_is_found_by_who_waits() {
    let directory = TempDir::new().unwrap();
    let (one, two) = (database(&directory).await, database(&directory).await);
    let (here, there) = (events(&one), events(&two));
    let queue = opened(&here, "a").await;
    let (got, _) = tokio::join!(fetch(&here, &queue, PATIENCE), publish(&there, [7]));
    assert_eq!(got.iter().map(|delivery| number(&delivery.event)).collect::<Vec<_>>(), [7]);
}

#[tokio::test]
async fn what_every_queue_has_finished_is_removed_and_what_one_has_not_stays() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let mut options = Options::default();
    options.retention = Duration::ZERO;
    let store = SqlEvents::new(&db, options, Clock::system());
    let (fast, slow) = (opened(&store, "fast").await, opened(&store, "slow").await);
    publish(&store, 0..10).await;
    assert_eq!(handled(&store, &fast, Duration::ZERO).await.len(), 10);
    store.tidy().await.unwrap();
    let count = async || {
        let row = db.query("SELECT COUNT(*) AS n FROM mainstay_events").fetch_one().await.unwrap();
        row.get::<i64>("n").unwrap()
    };
    assert_eq!(count().await, 10);
    assert_eq!(handled(&store, &slow, Duration::ZERO).await, (0..10).collect::<Vec<_>>());
    store.tidy().await.unwrap();
    assert_eq!(count().await, 1, "the last stays, so that no position is given twice");
    let dead = store.history(&Pattern::new("user.*").unwrap(), Start::At(Timestamp::UNIX_EPOCH), 10).await;
    assert!(dead.unwrap().gap);
}

#[tokio::test]
async fn the_janitor_keeps_up_with_any_publisher() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let mut options = Options::default();
    options.max_retained = 100;
    let store = SqlEvents::new(&db, options, Clock::system());
    publish(&store, 0..1_700).await;
    store.tidy().await.unwrap();
    let left = retained(&store).await;
    assert_eq!((left.len(), left[0]), (100, 1_600), "one round removes all that may go");
}

#[tokio::test]
async fn who_reads_on_behind_an_event_that_outlived_its_successors_learns_of_the_gap() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let mut options = Options::default();
    options.max_retained = 1;
    let store = SqlEvents::new(&db, options, Clock::system());
    let slow = opened(&store, "slow").await;
    let events = publish(&store, 0..5).await;
    let taken = fetch(&store, &slow, Duration::ZERO).await;
    for delivery in &taken[1..] {
        done(&store, &slow, delivery.receipt).await;
    }
    store.tidy().await.unwrap();
    assert_eq!(retained(&store).await, [0, 4]);
    for (number, gap) in [(0, true), (4, false)] {
        let from = Start::After(events[number].id);
        let history = store.history(&Pattern::new("user.*").unwrap(), from, 10).await.unwrap();
        assert_eq!(history.gap, gap, "behind {number}");
    }
}

#[tokio::test]
async fn what_was_removed_is_known_to_be_by_the_calendar_though_that_was_set_back_meanwhile() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let mut options = Options::default();
    options.max_retained = 1;
    let store = SqlEvents::new(&db, options, Clock::system());
    publish(&store, 0..3).await;
    let before = Timestamp::now();
    let later = before.as_microsecond() + 3_600_000_000;
    let sql = "UPDATE mainstay_events SET accepted_at = ? WHERE position = 1";
    db.query(sql).bind(later).execute().await.unwrap();
    store.tidy().await.unwrap();
    assert_eq!(retained(&store).await, [2]);
    let history = store.history(&Pattern::new("user.*").unwrap(), Start::At(before), 10).await;
    assert!(history.unwrap().gap, "one that was accepted an hour later is gone");
}

#[tokio::test]
async fn who_has_no_room_is_answered_at_once() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let store = events(&db);
    let queue = opened(&store, "a").await;
    publish(&store, [1]).await;
    let want = Fetch { consumer: "test", credits: 0, visibility: PATIENCE, wait: PATIENCE };
    let answer = tokio::time::timeout(PATIENCE / 2, store.fetch(&queue, want)).await;
    assert!(answer.expect("it does not wait").unwrap().is_empty());
}

#[tokio::test]
async fn the_own_queue_of_who_was_killed_does_not_hold_publishers_up_for_long() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let mut options = Options::default();
    options.max_queue = 10;
    let store = SqlEvents::new(&db, options, Clock::system());
    let pattern = Pattern::new("user.*").unwrap();
    let own = ["dead", "alive"].map(|name| Queue::own("a".into(), pattern.clone(), name.into()));
    for (queue, seconds) in own.iter().zip([310, 290]) {
        store.open(queue, Opening::NOW).await.unwrap();
        let sql = "UPDATE mainstay_event_queues SET fetched_at = ? WHERE name = ?";
        let then = Timestamp::now().as_microsecond() - seconds * 1_000_000;
        db.query(sql).bind(then).bind(queue.to_string()).execute().await.unwrap();
    }
    publish(&store, 0..5).await;
    store.tidy().await.unwrap();
    assert_eq!(store.stats().await.unwrap().len(), 2, "neither is in the way");
    publish(&store, [5]).await;
    store.tidy().await.unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!(stats.iter().map(|stats| &stats.queue).collect::<Vec<_>>(), [&own[1]]);
    assert_eq!(stats[0].unfinished(), 6);
}

#[tokio::test]
async fn the_own_queue_of_who_fetches_and_finds_nothing_is_not_deserted() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let store = events(&db);
    let own = Queue::own("a".into(), Pattern::new("user.*").unwrap(), "one".into());
    store.open(&own, Opening::NOW).await.unwrap();
    let two_days_ago = Timestamp::now().as_microsecond() - 2 * 24 * 3_600_000_000;
    db.query("UPDATE mainstay_event_queues SET fetched_at = ?").bind(two_days_ago).execute().await.unwrap();
    assert_eq!(handled(&store, &own, Duration::ZERO).await, [0; 0]);
    store.tidy().await.unwrap();
    publish(&store, [1]).await;
    assert_eq!(handled(&store, &own, Duration::ZERO).await, [1]);
}

#[tokio::test]
async fn a_database_that_cannot_be_written_says_so_and_what_was_accepted_stays() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let store = events(&db);
    let queue = opened(&store, "a").await;
    publish(&store, [1]).await;
    // Another process writes, for longer than this one waits.
    let other = database(&directory).await;
    let writing = other.begin().await.unwrap();
    let refused = store.publish(&[event(2)]).within(PATIENCE).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    writing.rollback().await.unwrap();
    publish(&store, [3]).await;
    assert_eq!(handled(&store, &queue, Duration::ZERO).await, [1, 3]);
}

#[tokio::test]
async fn a_full_disk_refuses_what_has_no_room_and_keeps_what_was_accepted() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let store = events(&db);
    let queue = opened(&store, "a").await;
    // As many pages as there are, and some.
    let pages: i64 = db.query("PRAGMA page_count").fetch_one().await.unwrap().get("page_count").unwrap();
    let bounds = ["PRAGMA max_page_count = 60", "PRAGMA max_page_count = 100000"];
    assert!(pages < 60, "{pages}");
    db.query(bounds[0]).execute().await.unwrap();
    let mut accepted = 0;
    let refused = loop {
        match store.publish(&[event(accepted)]).await {
            Ok(Published::Accepted) => accepted += 1,
            other => break other,
        }
    };
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    let text = format!("{refused:?}");
    assert!(text.contains("no space left"), "{text}");
    db.query(bounds[1]).execute().await.unwrap();
    publish(&store, [accepted]).await;
    let mut got = Vec::new();
    while u64::try_from(got.len()).unwrap() < accepted + 1 {
        got.extend(handled(&store, &queue, Duration::ZERO).await);
    }
    assert_eq!(got, (0..=accepted).collect::<Vec<_>>());
}
