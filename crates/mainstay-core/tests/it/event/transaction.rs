use std::sync::Arc;

use mainstay_core::event::store::Published;
use mainstay_core::event::{Envelope, Error, Event, EventId, Store, Transactional};
use mainstay_core::store::{Reply, StoreError};

use super::{Bus, SECOND, settled};
use crate::log::Log;

/// A transaction that keeps what it is given until it commits.
struct Transaction {
    store: Arc<dyn Store>,
    recorded: Vec<Arc<Envelope>>,
    answer: Result<Published, StoreError>,
}

impl Transaction {
    fn begin(bus: &Bus) -> Self {
        Self { store: Arc::clone(&bus.store), recorded: Vec::new(), answer: Ok(Published::Accepted) }
    }

    async fn commit(self) {
        assert_eq!(self.store.publish(&self.recorded).await, Ok(Published::Accepted));
    }
}

impl Transactional for Transaction {
    fn record<'a>(&'a mut self, events: &'a [Arc<Envelope>]) -> Reply<'a, Result<Published, StoreError>> {
        if self.answer == Ok(Published::Accepted) {
            self.recorded.extend_from_slice(events);
        }
        Reply::ready(self.answer.clone())
    }
}

async fn subscribed() -> (Bus, Log) {
    let (bus, log) = (Bus::new(), Log::default());
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        seen.push(format!("{} {:?} {}", event.data, event.subject, event.schema));
        async {}
    };
    bus.events.on("user.*").concurrency(1).handle(handler).await.unwrap();
    (bus, log)
}

#[tokio::test(start_paused = true)]
async fn what_is_published_in_a_transaction_is_published_when_it_commits_and_not_before() {
    let (bus, log) = subscribed().await;
    let mut transaction = Transaction::begin(&bus);
    let id: EventId = "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap();
    let event = bus.events.event("user.created").subject("user/1").schema(2).id(id);
    assert_eq!(event.publish_in(&mut transaction, &1).await.unwrap(), id);
    bus.events.publish_in(&mut transaction, "user.created", &2).await.unwrap();
    let ids = bus.events.publish_all_in(&mut transaction, "user.created", &[3, 4]).await.unwrap();
    assert_eq!(ids, transaction.recorded[2..].iter().map(|event| event.id).collect::<Vec<_>>());
    settled().await;
    assert!(log.entries().is_empty());
    transaction.commit().await;
    settled().await;
    assert_eq!(log.entries(), ["1 Some(\"user/1\") 2", "2 None 1", "3 None 1", "4 None 1"]);
    assert_eq!(bus.counted("events_published_total", &[("type", "user.created")]), 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_published_in_a_transaction_that_is_rolled_back_never_was() {
    let (bus, log) = subscribed().await;
    let mut transaction = Transaction::begin(&bus);
    bus.events.publish_in(&mut transaction, "user.created", &1).await.unwrap();
    drop(transaction);
    settled().await;
    assert!(log.entries().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_cannot_take_events_says_why() {
    let (bus, _) = subscribed().await;
    let mut transaction = Transaction::begin(&bus);
    for kind in ["User", ""] {
        let refused = bus.events.publish_in(&mut transaction, kind, &1).await.unwrap_err();
        assert!(matches!(refused, Error::Kind(_)), "{refused}");
    }
    transaction.answer = Ok(Published::Full);
    let refused = bus.events.publish_in(&mut transaction, "user.created", &1).await.unwrap_err();
    assert!(matches!(refused, Error::Backpressure), "{refused}");
    transaction.answer = Err(StoreError::rejected("no outbox"));
    let refused = bus.events.publish_all_in(&mut transaction, "user.created", &[1]).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
    transaction.answer = Err(StoreError::unknown("no answer"));
    let refused = bus.events.publish_in(&mut transaction, "user.created", &1).await.unwrap_err();
    assert!(matches!(refused, Error::Unknown { .. }), "{refused}");
    bus.events.stop(SECOND).await.unwrap();
    let refused = bus.events.publish_in(&mut transaction, "user.created", &1).await.unwrap_err();
    assert!(matches!(refused, Error::Stopped), "{refused}");
    assert!(transaction.recorded.is_empty());
    assert_eq!(bus.counted("events_published_total", &[("type", "user.created")]), 0);
}
