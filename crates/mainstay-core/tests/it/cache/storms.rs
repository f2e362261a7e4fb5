//! Callers by the thousand, who expire together, leave at any moment and meet a store that fails.

use std::io;
use std::pin::pin;
use std::task::Poll;

use futures_util::future::join_all;
use mainstay_core::cache::Ttl;
use mainstay_testkit::{Rng, Seed};

use super::*;

const CALLERS: usize = 64;
const EXPIRIES: usize = 1_000;

#[tokio::test(start_paused = true)]
async fn sixty_four_tasks_and_a_thousand_expiries_make_one_load_each() {
    let it = local();
    let loader = Loader::default();
    for round in 1..=EXPIRIES {
        let call = || {
            let (cache, load) = (it.cache.clone(), loader.numbered(MS));
            tokio::spawn(async move { cache.get_or_load("k", exactly(Ttl::seconds(1)), load).await.unwrap() })
        };
        let values = join_all((0..CALLERS).map(|_| call())).await;
        assert!(values.into_iter().all(|value| value.unwrap() == round));
        tokio::time::advance(SECOND).await;
    }
    assert_eq!(loader.count(), EXPIRIES);
    it.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_share_one_load_after_each_delete() {
    let it = local();
    let loader = Loader::default();
    for round in 1..=200 {
        let call = || {
            let (cache, load) = (it.cache.clone(), loader.numbered(Duration::ZERO));
            tokio::spawn(async move { cache.get_or_load("k", Ttl::hours(1), load).await.unwrap() })
        };
        let values = join_all((0..CALLERS).map(|_| call())).await;
        assert!(values.into_iter().all(|value| value.unwrap() == round));
        it.cache.delete("k").await.unwrap();
    }
    assert_eq!(loader.count(), 200);
}

/// Drops `call` after so many turns in which it had to wait.
async fn leave_after<T>(turns: u64, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut left = turns;
    std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// One call of any kind, on one of a few keys.
async fn anything(cache: Cache, mut rng: Rng) {
    let key = *rng.pick(&["a", "b", "c", "d"]);
    let policy = Ttl::millis(1 + rng.below(20))
        .stale_for(Duration::from_millis(rng.below(20)))
        .soft_timeout(Duration::from_millis(rng.below(4)))
        .hard_timeout(Duration::from_millis(1 + rng.below(30)))
        .early_refresh(rng.below(3) as f64)
        .tag("t");
    let (takes, fate) = (Duration::from_millis(rng.below(8)), rng.below(20));
    let load = move || async move {
        tokio::time::sleep(takes).await;
        match fate {
            // Panics without the hook's message.
            0 => std::panic::resume_unwind(Box::new("on purpose")),
            1 => std::future::pending().await,
            2 => Err(io::Error::other("on purpose")),
            3 => Ok(None),
            n => Ok(Some(n)),
        }
    };
    let must = move || async move { load().await.map(|loaded| loaded.unwrap_or_default()) };
    match rng.below(12) {
        0 => drop(cache.delete(key).await),
        1 => drop(cache.set(key, &7_u64, policy).await),
        2 => drop(cache.invalidate_tag("t").await),
        3 => drop(cache.get::<String>(key).await),
        4 => drop(cache.get::<u64>(key).await),
        5..8 => drop(cache.get_or_load_optional(key, policy, load).await),
        _ => drop(cache.get_or_load(key, policy, must).await),
    }
}

/// How often a random test repeats, times `MAINSTAY_ROUNDS`.
fn rounds(base: usize) -> usize {
    std::env::var("MAINSTAY_ROUNDS").map_or(base, |times| base * times.parse::<usize>().expect("a number"))
}

/// Lets callers come and leave.
async fn storm(it: &Fixture, rng: &mut Rng, calls: usize) {
    it.faults.delay(MS);
    let mut left = 0;
    for _ in 0..calls / 20 {
        let calls = (0..20).map(|_| {
            let (cache, turns, rng) = (it.cache.clone(), rng.below(12), Seed::new(rng.next_u64()).rng());
            tokio::spawn(leave_after(turns, anything(cache, rng)))
        });
        let ended = join_all(calls.collect::<Vec<_>>()).await;
        left += ended.into_iter().filter(|ended| ended.as_ref().unwrap().is_none()).count();
    }
    assert!(left > calls / 10, "{left} of {calls} calls were dropped while they waited");
}

#[tokio::test(start_paused = true)]
async fn callers_dropped_at_any_await_leave_nothing_behind() {
    let (it, mut rng) = (remote(), Seed::from_env("MAINSTAY_SEED").rng());
    storm(&it, &mut rng, rounds(10_000)).await;
    // Beyond every hard timeout and every pause, and well before an abandoned lease would have run out.
    tokio::time::sleep(SECOND / 5).await;
    it.assert_idle().await;
    assert_eq!(it.cache.stop(Duration::ZERO).await, Ok(()), "no task is left");
}

#[tokio::test(start_paused = true)]
async fn callers_dropped_at_any_await_of_a_failing_store_leave_nothing_behind() {
    let (it, mut rng) = (remote(), Seed::from_env("MAINSTAY_SEED").rng());
    it.faults.random(Seed::new(rng.next_u64()), 0.03);
    storm(&it, &mut rng, rounds(10_000)).await;
    it.faults.mend();
    // Beyond every lease: one whose return was lost has run out.
    tokio::time::sleep(2 * SECOND).await;
    it.assert_idle().await;
    assert_eq!(it.cache.stop(Duration::ZERO).await, Ok(()), "no task is left");
}
