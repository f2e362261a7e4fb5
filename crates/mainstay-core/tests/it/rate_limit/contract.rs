//! The contract, held against the store in memory and against stores with bugs.

use std::sync::Arc;

use mainstay_core::rate_limit::{Memory, Store};
use mainstay_core::time::Clock;
use mainstay_testkit::TestClock;
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::rate_limit::{Backend, suite};
use mainstay_testkit::faulty::Faults;
use mainstay_testkit::faulty::rate_limit::Faulty;
use mainstay_testkit::mutants::rate_limit::{Bug, Mutant};

fn backend<S: Store>(make: impl FnOnce(Clock) -> S) -> Backend {
    let store = Arc::new(make(TestClock::new().clock()));
    Backend { store, elapse: Elapse::of(tokio::time::advance) }
}

#[tokio::test(start_paused = true)]
async fn the_store_in_memory_keeps_the_contract() {
    suite().run(async || backend(|clock| Memory::new(1_000, clock))).await;
}

#[tokio::test(start_paused = true)]
async fn a_faulty_store_without_faults_keeps_the_contract() {
    let faulty = |clock| Faulty::new(Arc::new(Memory::new(1_000, clock)), Faults::none());
    suite().run(async || backend(faulty)).await;
}

#[tokio::test(start_paused = true)]
async fn the_contract_convicts_every_mutant() {
    for bug in Bug::ALL {
        let failures = suite().failures(async || backend(|clock| Mutant::new(bug, clock))).await;
        assert!(!failures.is_empty(), "{bug:?} was not convicted");
        println!("{bug:?}: {} of {} cases, {}", failures.len(), suite().len(), failures[0]);
    }
}
