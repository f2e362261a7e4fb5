//! What is published in a transaction, and what is handled in one.

use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::event::store::{Published, Transactional};
use mainstay_core::event::{Event, Events, Options};
use mainstay_core::metrics::Metrics;
use mainstay_core::store::StoreError;
use mainstay_core::time::Clock;
use mainstay_sql::inbox::Inbox;
use mainstay_sql::{Database, Error};
use std::sync::Arc;
use tempfile::TempDir;

use super::{PATIENCE, database, event, events, fetch, handled, number, opened, publish};

async fn note(tx: &mut mainstay_sql::Transaction, id: u64) {
    let id = i64::try_from(id).unwrap();
    tx.query("INSERT INTO notes (id) VALUES (?)").bind(id).execute().await.unwrap();
}

async fn notes(db: &Database) -> i64 {
    db.query("SELECT COUNT(*) AS n FROM notes").fetch_one().await.unwrap().get("n").unwrap()
}

#[tokio::test]
async fn an_event_is_published_with_its_transaction_and_not_without() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let store = events(&db);
    let queue = opened(&store, "a").await;

    let mut tx = db.begin().await.unwrap();
    note(&mut tx, 1).await;
    assert_eq!(tx.record(&[event(1)]).await, Ok(Published::Accepted));
    assert!(fetch(&store, &queue, Duration::ZERO).now_or_never().is_none_or(|taken| taken.is_empty()));
    tx.commit().await.unwrap();
    assert_eq!(handled(&store, &queue, Duration::ZERO).await, [1]);

    for commits in [false, true] {
        let mut tx = db.begin().await.unwrap();
        note(&mut tx, 2).await;
        assert_eq!(tx.record(&[event(2)]).await, Ok(Published::Accepted));
        if commits {
            tx.rollback().await.unwrap();
        } else {
            drop(tx);
        }
        assert_eq!(handled(&store, &queue, Duration::ZERO).await, [0; 0]);
    }
    assert_eq!(notes(&db).await, 1);
}

#[tokio::test]
async fn who_waits_is_woken_by_the_commit() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let store = events(&db);
    let queue = opened(&store, "a").await;
    let publish = async {
        let mut tx = db.begin().await.unwrap();
        tx.record(&[event(1)]).await.unwrap();
        tx.commit().await.unwrap();
    };
    let (got, ()) = tokio::join!(fetch(&store, &queue, PATIENCE), publish);
    assert_eq!(got.len(), 1);
}

#[tokio::test]
async fn a_full_queue_refuses_what_is_recorded_and_leaves_the_transaction_as_it_was() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let mut options = mainstay_sql::event::Options::default();
    options.max_queue = 2;
    let store = mainstay_sql::event::SqlEvents::new(&db, options, Clock::system());
    let queue = opened(&store, "a").await;
    publish(&store, [1]).await;
    let mut tx = db.begin().await.unwrap();
    note(&mut tx, 1).await;
    assert_eq!(tx.record(&[event(2), event(3)]).await, Ok(Published::Full));
    assert_eq!(tx.record(&[event(4)]).await, Ok(Published::Accepted));
    tx.commit().await.unwrap();
    assert_eq!(handled(&store, &queue, Duration::ZERO).await, [1, 4]);
    assert_eq!(notes(&db).await, 1);
}

#[tokio::test]
async fn a_database_that_carries_no_events_says_what_to_do() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let mut tx = db.begin().await.unwrap();
    let refused = tx.record(&[event(1)]).await;
    let Err(StoreError::Rejected { reason }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("SqlEvents"), "{reason}");
    drop(events(&db));
    let refused = tx.record(&[event(1)]).await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn an_effect_happens_once_however_often_its_event_is_delivered() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let (inbox, id) = (Inbox::new("a"), event(1).id);
    let handle = async |commits: bool| {
        let mut tx = db.begin().await?;
        let first = inbox.first(&mut tx, id).await?;
        if first {
            note(&mut tx, 1).await;
        }
        if commits {
            tx.commit().await?;
        } else {
            tx.rollback().await?;
        }
        Ok::<_, Error>(first)
    };
    assert!(handle(false).await.unwrap());
    assert!(handle(true).await.unwrap());
    assert!(!handle(true).await.unwrap());
    assert_eq!(notes(&db).await, 1);
    let mut tx = db.begin().await.unwrap();
    assert!(Inbox::new("b").first(&mut tx, id).await.unwrap(), "another group");
    tx.commit().await.unwrap();
    assert_eq!(inbox.clone().retention(Duration::ZERO).purge(&db).await.unwrap(), 1);
    assert!(handle(true).await.unwrap());
}

#[tokio::test]
async fn a_handle_publishes_in_a_transaction_and_a_handler_records_its_effect_in_one() {
    let directory = TempDir::new().unwrap();
    let db = database(&directory).await;
    let handle = Events::new(Arc::new(events(&db)), Options::new("test"), &Metrics::new(), Clock::system());
    let (effects, inbox) = (db.clone(), Inbox::new("test"));
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |event: Event<u64>| {
        let (db, inbox, told) = (effects.clone(), inbox.clone(), told.clone());
        async move {
            let mut tx = db.begin().await?;
            if inbox.first(&mut tx, event.id).await? {
                note(&mut tx, event.data).await;
                tx.commit().await?;
            }
            told.send(event.data).unwrap();
            Ok::<_, Error>(())
        }
    };
    handle.subscribe("user.created", handler).await.unwrap();
    for number in 0..20 {
        let mut tx = db.begin().await.unwrap();
        handle.publish_in(&mut tx, "user.created", &number).await.unwrap();
        tx.commit().await.unwrap();
    }
    let mut all = Vec::new();
    while all.len() < 20 {
        all.push(tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (0..20).collect::<Vec<u64>>());
    assert_eq!(notes(&db).await, 20);
    handle.stop(PATIENCE).await.unwrap();
    assert_eq!(number(&event(3)), 3);
}
