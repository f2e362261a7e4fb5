use std::sync::Arc;

use mainstay_core::key::Key;
use mainstay_core::lock::{Acquired, Claim, Fence, Memory, Store, Token};
use mainstay_testkit::TestClock;
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::lock::{Backend, suite};
use mainstay_testkit::mutants::lock::{Bug, Mutant};

use super::SECOND;

fn backend(wrap: impl Fn(Arc<dyn Store>) -> Arc<dyn Store>) -> Backend {
    let memory = Arc::new(Memory::new(TestClock::new().clock()));
    Backend { store: wrap(memory), elapse: Elapse::of(tokio::time::sleep) }
}

#[tokio::test(start_paused = true)]
async fn the_store_in_memory_keeps_the_contract() {
    suite().run(async || backend(|store| store)).await;
}

#[tokio::test(start_paused = true)]
async fn the_contract_convicts_every_seeded_bug() {
    for bug in Bug::ALL {
        let failures = suite().failures(async || backend(|store| Arc::new(Mutant::new(store, bug)))).await;
        assert!(!failures.is_empty(), "{bug:?} got away");
    }
}

fn claim() -> Claim {
    Claim { attempt: Token::random(), permits: 1, ttl: 30 * SECOND, floor: Fence::default() }
}

fn acquire(store: &Memory, key: &str, claim: Claim) -> Acquired {
    store.acquire(Key::new(key).unwrap(), claim).now().unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn fences_grow_over_a_restart_and_over_a_calendar_set_back() {
    let time = TestClock::new();
    let Acquired::Granted { fence: before } = acquire(&Memory::new(time.clock()), "k", claim()) else {
        panic!()
    };
    tokio::time::sleep(SECOND).await;
    let restarted = Memory::new(time.clock());
    time.step_wall(jiff::SignedDuration::from_hours(-1));
    let Acquired::Granted { fence: after } = acquire(&restarted, "k", claim()) else { panic!() };
    assert!(after > before);
}

#[tokio::test(start_paused = true)]
async fn keys_that_expired_unreleased_do_not_pile_up() {
    let memory = Memory::new(TestClock::new().clock());
    for n in 0..100_000 {
        if n % 100 == 0 {
            tokio::time::advance(31 * SECOND).await;
        }
        acquire(&memory, &format!("key-{n}"), claim());
    }
    let usage = memory.usage();
    assert!(usage.keys < 2_000, "{usage:?}");
}

#[tokio::test(start_paused = true)]
async fn cancelled_attempts_do_not_pile_up() {
    let memory = Memory::new(TestClock::new().clock());
    let key = Key::new("k").unwrap();
    for _ in 0..1_000 {
        memory.release(key, Token::random(), 60 * SECOND).now().unwrap().unwrap();
    }
    // One more than is remembered, of which the last must be.
    let attempt = Token::random();
    memory.release(key, attempt, 60 * SECOND).now().unwrap().unwrap();
    assert_eq!(acquire(&memory, "k", Claim { attempt, ..claim() }), Acquired::Cancelled);
    tokio::time::advance(61 * SECOND).await;
    assert!(matches!(acquire(&memory, "k", claim()), Acquired::Granted { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_names_held_at_once_stay_within_the_room_and_take_nobodys_lock() {
    let memory = Memory::bounded(1_000, TestClock::new().clock());
    let first = claim();
    acquire(&memory, "first", first);
    let mut refused = 0;
    for n in 0..100_000 {
        let name = format!("key-{n}");
        refused += usize::from(memory.acquire(Key::new(&name).unwrap(), claim()).now().unwrap().is_err());
    }
    let usage = memory.usage();
    assert!(usage.keys <= 1_024, "{usage:?}");
    assert_eq!(refused + usage.keys, 100_001, "who was not refused holds");
    assert!(matches!(acquire(&memory, "first", claim()), Acquired::Held { .. }));

    tokio::time::advance(31 * SECOND).await;
    assert!(
        matches!(acquire(&memory, "another", claim()), Acquired::Granted { .. }),
        "what expired makes room"
    );
}
