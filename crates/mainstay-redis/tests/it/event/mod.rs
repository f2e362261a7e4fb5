//! `mainstay_redis::event`.

mod contract;
mod faults;
mod janitor;
mod mutants;
mod rewind;

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::codec::Codec;
use mainstay_core::event::store::{Delivery, Fetch, Opening, Published, Standing, Store, Verdict};
use mainstay_core::event::{Envelope, EventId, Kind, Pattern, Queue};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_redis::event::{self, RedisEvents};
use mainstay_redis::{Options, Redis};

/// Longer than anything takes on a loaded machine; nothing waits this long when it works.
const PATIENCE: Duration = Duration::from_secs(30);
const NAMESPACE: &str = "test";

/// A connection of its own. Answers may take long where many tests run at once.
async fn connect(url: &str) -> Redis {
    let mut options = Options::parse(url).unwrap();
    options.command_timeout = Duration::from_secs(10);
    let redis = Redis::open(options, &Metrics::new(), Clock::system());
    redis.ready(Duration::from_secs(10)).await.unwrap();
    redis
}

async fn store(url: &str) -> RedisEvents {
    RedisEvents::new(connect(url).await, NAMESPACE, event::Options::default())
}

/// A key of the topic `user`.
fn key(suffix: &str) -> String {
    format!("ms:{{{NAMESPACE}:event:user}}:{suffix}")
}

fn event(number: u64) -> Arc<Envelope> {
    let (now, kind) = (jiff::Timestamp::now(), Kind::new("user.created").unwrap());
    let data = Codec::Json.encode(&number).unwrap();
    Arc::new(Envelope::new(EventId::at(now), "test".into(), kind, now, Codec::Json, data))
}

fn number(event: &Envelope) -> u64 {
    Codec::Json.decode(&event.data).unwrap()
}

fn queue(group: &str) -> Queue {
    Queue::shared(group.into(), Pattern::new("user.*").unwrap())
}

async fn opened(store: &dyn Store, group: &str) -> Queue {
    let queue = queue(group);
    store.open(&queue, Opening::NOW).await.unwrap();
    queue
}

async fn publish(store: &dyn Store, numbers: impl IntoIterator<Item = u64>) -> Vec<Arc<Envelope>> {
    let events: Vec<_> = numbers.into_iter().map(event).collect();
    assert_eq!(store.publish(&events).await, Ok(Published::Accepted));
    events
}

fn want(wait: Duration) -> Fetch<'static> {
    Fetch { consumer: "test", credits: 100, visibility: PATIENCE, wait }
}

async fn fetch(store: &dyn Store, queue: &Queue) -> Vec<Delivery> {
    store.fetch(queue, want(Duration::ZERO)).await.unwrap()
}

async fn done(store: &dyn Store, queue: &Queue, deliveries: &[Delivery]) {
    for delivery in deliveries {
        let settled = store.settle(queue, delivery.receipt, Verdict::Done).await;
        assert_eq!(settled, Ok(Standing::Held));
    }
}

fn numbers(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| number(&delivery.event)).collect()
}

/// The numbers of what is there, which is then done.
async fn handled(store: &dyn Store, queue: &Queue) -> Vec<u64> {
    let taken = fetch(store, queue).await;
    done(store, queue, &taken).await;
    numbers(&taken)
}
