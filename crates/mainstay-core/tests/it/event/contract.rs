//! The store in this process keeps the contract, and the contract's cases can fail.

use std::sync::Arc;

use mainstay_core::event::store::Store;
use mainstay_core::event::{Event, Memory, Options, Queue, Start};
use mainstay_testkit::TestClock;
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::event::{Backend, suite};
use mainstay_testkit::faulty::Faults;
use mainstay_testkit::faulty::event::FaultyStore;
use mainstay_testkit::mutants::event::{Bug, Mutant};

use super::{Bus, bounds};

const CAPACITY: usize = 6;

fn memory() -> Memory {
    Memory::new(bounds(CAPACITY), TestClock::new().clock())
}

fn backend(store: impl Store) -> Backend {
    let elapse = Elapse::of(tokio::time::sleep);
    Backend { store: Arc::new(store), capacity: CAPACITY, retained: 1_000, elapse }
}

#[tokio::test(start_paused = true)]
async fn the_store_in_this_process_keeps_the_contract() {
    suite().run(async || backend(memory())).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrapper_without_faults_keeps_the_contract() {
    suite().run(async || backend(FaultyStore::new(memory(), Faults::none()))).await;
}

#[tokio::test(start_paused = true)]
async fn every_mutant_is_convicted() {
    let mut free = Vec::new();
    for bug in Bug::ALL {
        if suite().failures(async || backend(Mutant::new(memory(), bug))).await.is_empty() {
            free.push(bug);
        }
    }
    assert!(free.is_empty(), "not convicted: {free:?}");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_dead_letter_makes_room_and_is_counted() {
    let mut bounds = bounds(100);
    bounds.dead = 2;
    let store = Memory::new(bounds, TestClock::new().clock());
    let queue = Queue::shared("a".into(), mainstay_core::event::Pattern::new("user.*").unwrap());
    super::model::kill(&store, &queue, 5).await;
    let stats = store.stats().await.unwrap();
    assert_eq!((stats[0].dead, stats[0].dead_dropped), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn what_is_retained_is_bounded_by_number_by_bytes_and_by_topics() {
    let mut options = Options::new("users");
    options.memory.retained = 10;
    options.memory.retained_bytes = 20_000;
    let bus = Bus::with(options);
    let retained = async |pattern| {
        let history = bus.events.history(pattern, Start::Oldest, 1_000).await.unwrap();
        history.events.len()
    };
    bus.events.publish_all("user.created", &(0..50).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(retained("user.*").await, 10);
    for _ in 0..10 {
        bus.events.publish("user.created", &"x".repeat(6_000)).await.unwrap();
    }
    assert_eq!(retained("user.*").await, 3);
    bus.events.publish("user.created", &"x".repeat(30_000)).await.unwrap();
    assert_eq!(retained("user.*").await, 0, "one that is too large alone");
    for topic in 0..1_000 {
        bus.events.publish(&format!("topic{topic}.created"), &1).await.unwrap();
    }
    assert_eq!((retained("topic0.*").await, retained("topic999.*").await), (1, 0));
    bus.events.on("topic999.*").handle(|_: Event<u32>| async {}).await.unwrap();
    bus.events.publish("topic999.created", &1).await.unwrap();
    assert_eq!(retained("topic999.*").await, 1, "with a queue it is one of ours");
}
