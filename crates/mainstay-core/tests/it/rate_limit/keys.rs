//! Many keys and little room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::metrics::Metrics;
use mainstay_core::rate_limit::{Charge, Memory, Options, Quota, RateLimiter};
use mainstay_core::time::Moment;
use mainstay_testkit::Seed;

use super::{Admission, Hand, most_within, now};

const WINDOW: Duration = Duration::from_millis(20);

fn with_room_for(keys: usize) -> (RateLimiter, Arc<Memory>, Hand) {
    let hand = Hand::new();
    let memory = Arc::new(Memory::new(keys, hand.clock()));
    let store = Arc::clone(&memory);
    (RateLimiter::new(store, Options::default(), &Metrics::new(), hand.clock()), memory, hand)
}

#[test]
fn a_hundred_thousand_keys_keep_their_limits_in_the_room_of_a_few() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let (limiter, memory, hand) = with_room_for(64);
    let mut admitted: HashMap<u64, Vec<Admission>> = HashMap::new();
    let mut shared = 0;
    for new in 0..100_000_u64 {
        // Each key once, and a crowd of recent ones again and again: they lose and find their places.
        for key in [new, new - rng.below(40.min(new + 1)), rng.below(30)] {
            hand.advance(rng.below(120));
            let at = Moment::from_micros(hand.clock().now().as_micros());
            let quota = Quota::new(3, WINDOW).buckets(10);
            let quota = if key % 2 == 0 { quota } else { quota.buckets(5) };
            if now(limiter.check(&format!("key:{key}"), quota)).unwrap().allowed {
                admitted.entry(key).or_default().push((at, at, 1));
            }
        }
        let usage = memory.usage();
        assert!(usage.keys <= 64, "{usage:?}");
        shared = shared.max(usage.shared);
    }
    assert!(shared > 0, "there was room for all");
    for (key, admissions) in admitted {
        let most = most_within(WINDOW, admissions);
        assert!(most <= 3, "key {key} got {most}");
    }
}

#[test]
fn keys_without_room_are_refused_too_early_and_never_too_late() {
    let (limiter, memory, hand) = with_room_for(0);
    let quota = Quota::new(2, WINDOW);
    let allowed =
        (0..1_000).filter(|key| now(limiter.check(&key.to_string(), quota)).unwrap().allowed).count();
    assert!((2..=32).contains(&allowed), "{allowed}: two for each of sixteen shared states");
    assert_eq!(memory.usage().keys, 0);
    hand.advance(40_000);
    assert!(now(limiter.check("1", quota)).unwrap().allowed);
}

#[test]
fn a_key_that_finds_room_brings_what_it_was_charged() {
    let (limiter, memory, hand) = with_room_for(1);
    let (long, short) = (Quota::new(5, WINDOW * 100), Quota::new(5, WINDOW));
    now(limiter.check("first", short)).unwrap();
    let charged = now(limiter.check_cost("second", long, 4)).unwrap();
    assert!(charged.allowed && memory.usage().overflows > 0);
    hand.advance(300_000);
    // The first key is idle by now: one of the next calls takes its room.
    let refused = (0..100).map(|_| now(limiter.check_cost("second", long, 2)).unwrap());
    assert!(refused.into_iter().all(|decision| !decision.allowed));
    now(limiter.refund("second", long, &charged)).unwrap();
    assert_eq!(now(limiter.peek("second", long)).unwrap().remaining, 5);
}

#[test]
fn idle_keys_are_removed_as_new_ones_come() {
    let (limiter, memory, hand) = with_room_for(100_000);
    let check = |key: u64| now(limiter.check(&key.to_string(), Quota::new(3, WINDOW))).unwrap();
    (0..10_000).for_each(|key| assert!(check(key).allowed));
    assert_eq!(memory.usage().keys, 10_000);
    hand.advance(11_000_000);
    (10_000..10_100).for_each(|key| assert!(check(key).allowed));
    assert!(memory.usage().keys <= 100, "{:?}", memory.usage());
}

#[test]
fn too_many_policies_without_room_are_an_outage_and_no_growth() {
    let (limiter, memory, _) = with_room_for(0);
    for limit in 1..5_000 {
        now(limiter.check("k", Quota::per_minute(limit))).unwrap();
    }
    assert!(memory.usage().shared <= 16 * 64, "{:?}", memory.usage());
    let both = [Charge::new("a", Quota::per_second(1)), Charge::new("b", Quota::per_second(2))];
    now(limiter.check_all(&both)).unwrap();
}
