//! A disk that cannot be written.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::store::{Fetch, Opening, QueueStats, Standing, Store, Transactional, Verdict};
use mainstay_core::event::{Error, Event, Events, Options};
use mainstay_core::metrics::Metrics;
use mainstay_core::store::StoreError;
use mainstay_core::time::Clock;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{PATIENCE, database, event, events, handled, number, opened, publish, queue, retained};

/// The file system says no to whoever writes: SQLite answers with the same code.
const READ_ONLY: &str = "PRAGMA query_only = ON";
const WRITABLE: &str = "PRAGMA query_only = OFF";

fn says_so<T: std::fmt::Debug>(answer: &Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
    let text = format!("{answer:?}");
    assert!(
        text.contains("events.db cannot be written") && text.contains("writable for this user"),
        "{text}"
    );
}

#[tokio::test]
async fn a_disk_that_turns_read_only_refuses_what_is_new_and_keeps_what_was_accepted() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let store = events(&db);
    let a = opened(&store, "a").await;
    publish(&store, 0..5).await;
    let want = Fetch { consumer: "test", credits: 2, visibility: PATIENCE, wait: Duration::ZERO };
    let taken = store.fetch(&a, want).await.unwrap();
    let dead = Verdict::Dead { cause: "poison".to_owned() };
    store.settle(&a, taken[1].receipt, dead).await.unwrap();

    let mut tx = db.begin().await.unwrap();
    tx.query(READ_ONLY).execute().await.unwrap();
    says_so(&tx.record(&[event(8)]).await);
    drop(tx);
    says_so(&store.publish(&[event(8)]).await);
    let (one, two) = (event(8), event(9));
    let (one, two) =
        tokio::join!(store.publish(std::slice::from_ref(&one)), store.publish(std::slice::from_ref(&two)));
    says_so(&one);
    says_so(&two);
    let begun = db.begin().await;
    assert!(matches!(begun, Err(mainstay_sql::Error::ReadOnly { .. })), "{begun:?}");
    says_so(&store.fetch(&a, want).await);
    says_so(&store.settle(&a, taken[0].receipt, Verdict::Done).await);
    says_so(&store.open(&queue("b"), Opening::NOW).await);

    assert_eq!(retained(&store).await, [0, 1, 2, 3, 4], "reading goes on");
    let letters = store.dead_letters(&a, 10).await.unwrap();
    assert_eq!(letters.iter().map(|letter| number(&letter.event)).collect::<Vec<_>>(), [1]);
    let QueueStats { queued, pending, dead, .. } = store.stats().await.unwrap().remove(0);
    assert_eq!((queued, pending, dead), (3, 1, 1));

    db.query(WRITABLE).execute().await.unwrap();
    assert_eq!(store.settle(&a, taken[0].receipt, Verdict::Done).await, Ok(Standing::Held));
    publish(&store, [5]).await;
    assert_eq!(handled(&store, &a, Duration::ZERO).await, [2, 3, 4, 5]);
}

#[tokio::test]
async fn a_subscription_outlives_a_disk_that_is_read_only_for_a_while() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let mut options = Options::new("test");
    options.op_timeout = PATIENCE;
    let handle = Events::new(Arc::new(events(&db)), options, &Metrics::new(), Clock::system());
    let (told, mut heard) = mpsc::unbounded_channel();
    let handler = move |event: Event<u64>| {
        told.send(event.data).unwrap();
        async {}
    };
    handle.on("user.*").group("a").handle(handler).await.unwrap();
    handle.publish("user.created", &1).await.unwrap();
    assert_eq!(heard.recv().await, Some(1));
    db.query(READ_ONLY).execute().await.unwrap();
    let refused = handle.publish("user.created", &2).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    db.query(WRITABLE).execute().await.unwrap();
    handle.publish("user.created", &3).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, heard.recv()).await, Ok(Some(3)));
    handle.stop(PATIENCE).await.unwrap();
}
