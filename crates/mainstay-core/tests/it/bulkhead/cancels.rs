//! Callers that go away at any moment, on several threads. `MAINSTAY_ROUNDS` multiplies the rounds: at 10 it
//! is more than a million.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use mainstay_testkit::Seed;
use tokio::task::{JoinSet, yield_now};

use super::{bulkhead, policy};

const TASKS: u64 = 16;
const ROUNDS: u64 = 7_000;
const SLOTS: u32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_cancellation_loses_a_slot_or_a_wake_up() {
    let rounds = ROUNDS * std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse().unwrap());
    let seed = Seed::from_env("MAINSTAY_SEED").value();
    let bulkhead = bulkhead(policy(SLOTS, 100, Duration::from_secs(60)));
    let (inside, left) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (bulkhead, inside, left) = (bulkhead.clone(), Arc::clone(&inside), Arc::clone(&left));
        tasks.spawn(async move {
            let mut rng = Seed::new(seed ^ task).rng();
            for _ in 0..rounds {
                let patience = rng.below(8);
                let slot = async {
                    match patience {
                        // As long as it takes: a lost wake-up is a refusal after a minute.
                        0 => Some(bulkhead.acquire().await.unwrap()),
                        _ => tokio::select! {
                            biased;
                            () = yields(patience) => None,
                            slot = bulkhead.acquire() => Some(slot.unwrap()),
                        },
                    }
                };
                let Some(slot) = slot.await else {
                    left.fetch_add(1, Ordering::SeqCst);
                    continue;
                };
                assert!(inside.fetch_add(1, Ordering::SeqCst) < SLOTS);
                yields(rng.below(3)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(slot);
            }
        });
    }
    tasks.join_all().await;
    assert!(left.load(Ordering::SeqCst) > TASKS * rounds / 4, "few went away: {left:?}");
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (0, 0));
    let slots: Vec<_> = std::iter::from_fn(|| bulkhead.try_acquire().ok()).collect();
    assert_eq!(slots.len(), SLOTS as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_size_that_changes_under_load_is_right_in_the_end() {
    let bulkhead = bulkhead(policy(5, 100, Duration::from_secs(60)));
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let bulkhead = bulkhead.clone();
        let mut rng = Seed::new(task).rng();
        tasks.spawn(async move {
            for _ in 0..2_000 {
                tokio::select! {
                    biased;
                    () = yields(rng.below(6)) => {}
                    slot = bulkhead.acquire() => {
                        yields(rng.below(2)).await;
                        drop(slot.unwrap());
                    }
                }
            }
        });
    }
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    for _ in 0..2_000 {
        let slots = 1 + u32::try_from(rng.below(8)).unwrap();
        bulkhead.configure(policy(slots, 100, Duration::from_secs(60))).unwrap();
        yield_now().await;
    }
    bulkhead.configure(policy(4, 100, Duration::from_secs(60))).unwrap();
    tasks.join_all().await;
    let slots: Vec<_> = std::iter::from_fn(|| bulkhead.try_acquire().ok()).collect();
    assert_eq!((slots.len(), bulkhead.in_flight(), bulkhead.waiting()), (4, 4, 0));
}

async fn yields(times: u64) {
    for _ in 0..times {
        yield_now().await;
    }
}
