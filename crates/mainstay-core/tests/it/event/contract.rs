//! The store in this process keeps the contract, and the contract's cases can fail.

use std::sync::Arc;

use mainstay_core::event::store::Store;
use mainstay_core::event::{Memory, Queue};
use mainstay_testkit::TestClock;
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::event::{Backend, suite};
use mainstay_testkit::faulty::Faults;
use mainstay_testkit::faulty::event::FaultyStore;
use mainstay_testkit::mutants::event::{Bug, Mutant};

use super::bounds;

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
