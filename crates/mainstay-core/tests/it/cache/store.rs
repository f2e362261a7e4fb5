//! The contract of the cache's store: the store in this process keeps it, and the suite that says so can
//! tell a bad store from a good one.

use std::sync::Arc;

use mainstay_core::cache::{Memory, Options, Store};
use mainstay_core::time::Clock;
use mainstay_testkit::TestClock;
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::cache::{Backend, suite};
use mainstay_testkit::mutants::cache::{Bug, mutant};

fn backend(store: impl FnOnce(Clock) -> Arc<dyn Store>) -> Backend {
    let time = TestClock::new();
    Backend { store: store(time.clock()), elapse: Elapse::of(tokio::time::advance) }
}

#[tokio::test(start_paused = true)]
async fn the_store_in_this_process_keeps_the_contract() {
    let memory = |clock| Arc::new(Memory::new(&Options::default(), clock)) as Arc<dyn Store>;
    suite().run(async || backend(memory)).await;
}

#[tokio::test(start_paused = true)]
async fn the_contract_convicts_every_mutant() {
    for bug in Bug::ALL {
        let failures = suite().failures(async || backend(|clock| mutant(bug, clock))).await;
        assert!(!failures.is_empty(), "{bug:?} was not noticed");
        assert!(failures.len() < suite().len() / 3, "{bug:?} breaks more than one thing: {failures:#?}");
    }
}
