//! Threads that race for the same limits.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use mainstay_core::metrics::Metrics;
use mainstay_core::rate_limit::{Charge, Options, Quota, RateLimiter};
use mainstay_core::time::Clock;
use mainstay_testkit::{Rng, Seed};

use super::{Admission, Hand, most_within, now};

const THREADS: u64 = 4;

/// Runs `work` on four threads at once and gathers what they bring.
fn race<T: Send>(work: impl Fn(u64, Rng) -> Vec<T> + Sync) -> Vec<T> {
    let seed = Seed::from_env("MAINSTAY_SEED").value();
    let work = &work;
    std::thread::scope(|scope| {
        let spawn = |thread| scope.spawn(move || work(thread, Seed::new(seed.wrapping_add(thread)).rng()));
        let threads: Vec<_> = (0..THREADS).map(spawn).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn four_threads_on_one_key_get_its_limit_between_them() {
    let clock = Clock::system();
    let limiter = RateLimiter::in_memory(Options::default(), &Metrics::new(), clock.clone());
    let window = Duration::from_millis(20);
    for quota in [Quota::new(200, window), Quota::new(200, window).buckets(60)] {
        let admitted: Vec<Admission> = race(|_, _| {
            let mut admitted = Vec::new();
            for _ in 0..50_000 {
                let begin = clock.now();
                if now(limiter.check("k", quota)).unwrap().allowed {
                    admitted.push((begin, clock.now(), 1));
                }
            }
            admitted
        });
        assert!(admitted.len() >= 200);
        let most = most_within(window, admitted);
        assert!(most <= 200, "{most}");
    }
}

#[test]
fn keys_that_come_and_go_under_four_threads_keep_their_limits() {
    let hand = Hand::new();
    let clock = hand.clock();
    let mut options = Options::default();
    options.max_keys = 20;
    let limiter = hand.limiter(options);
    let window = Duration::from_millis(20);
    let quota = Quota::new(3, window);
    let admitted: Vec<(u64, Admission)> = race(|thread, mut rng| {
        let mut admitted = Vec::new();
        for _ in 0..20_000 {
            if thread == 0 {
                hand.advance(rng.below(2_000));
            }
            let key = rng.below(40);
            let begin = clock.now();
            let decision = now(limiter.check(&key.to_string(), quota)).unwrap();
            if decision.allowed {
                admitted.push((key, (begin, clock.now(), 1)));
            }
        }
        admitted
    });
    for key in 0..40 {
        let of_key = admitted.iter().filter(|(other, _)| *other == key).map(|(_, admission)| *admission);
        let most = most_within(window, of_key.collect());
        assert!(most <= 3, "key {key} got {most}");
    }
}

#[test]
fn calls_over_several_keys_neither_block_each_other_nor_lose_count() {
    let hand = Hand::new();
    let limiter = hand.limiter(Options::default());
    let quota = Quota::per_hour(6_000);
    let keys = ["a", "b", "c"];
    let spent = keys.map(|_| AtomicU32::new(0));
    race(|_, mut rng| {
        for _ in 0..10_000 {
            let mut charges: Vec<Charge<'_>> =
                (0..1 + rng.below(4)).map(|_| Charge::new(rng.pick::<&str>(&keys), quota)).collect();
            rng.shuffle(&mut charges);
            let decisions = now(limiter.check_all(&charges)).unwrap();
            for (charge, decision) in charges.iter().zip(&*decisions).filter(|(_, decision)| decision.allowed)
            {
                let spent = &spent[keys.iter().position(|key| *key == charge.key).unwrap()];
                if rng.chance(0.5) {
                    now(limiter.refund(charge.key, quota, decision)).unwrap();
                } else {
                    spent.fetch_add(1, Ordering::SeqCst);
                }
            }
            if now(limiter.check("a", quota)).unwrap().allowed {
                spent[0].fetch_add(1, Ordering::SeqCst);
            }
        }
        Vec::<()>::new()
    });
    for (key, spent) in keys.iter().zip(spent) {
        let left = now(limiter.peek(key, quota)).unwrap().remaining;
        assert_eq!(left + spent.into_inner(), 6_000, "{key}");
    }
}

#[test]
fn a_refund_is_seen_by_whoever_asks_after_it() {
    let hand = Hand::new();
    let limiter = hand.limiter(Options::default());
    let quota = Quota::per_hour(1);
    let taken = AtomicBool::new(false);
    // One permit goes from hand to hand: never two hold it, and never none can.
    let passed = race(|_, _| {
        let mut passed = Vec::new();
        for _ in 0..20_000 {
            let decision = now(limiter.check("k", quota)).unwrap();
            if decision.allowed {
                assert!(!taken.swap(true, Ordering::SeqCst), "two at once");
                taken.store(false, Ordering::SeqCst);
                now(limiter.refund("k", quota, &decision)).unwrap();
                passed.push(());
            }
        }
        passed
    });
    assert!(!passed.is_empty());
    assert!(now(limiter.check("k", quota)).unwrap().allowed, "given back by the last");
}
