//! Histories of one key's versions: nobody who asks after a delete has returned sees what was there before.

use std::convert::Infallible;
use std::sync::atomic::AtomicU64;

use mainstay_core::cache::Ttl;
use mainstay_core::time::Clock;
use mainstay_testkit::mutants::cache::{Bug, mutant};
use mainstay_testkit::{Rng, Seed};

use super::*;

const WRITERS: u64 = 2;
const READERS: u64 = 8;

/// The source and what is known of it.
#[derive(Default)]
struct Source {
    version: AtomicU64,
    /// The highest version whose delete has returned.
    settled: AtomicU64,
    violations: AtomicUsize,
}

#[derive(Clone, Copy)]
enum Change {
    Delete,
    InvalidateTag,
}

/// Random turns of the scheduler, so that everything can come between.
async fn pause(turns: u64) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

async fn write(cache: Cache, source: Arc<Source>, mut rng: Rng, rounds: usize, change: Change) {
    for _ in 0..rounds {
        pause(rng.below(8)).await;
        let version = source.version.fetch_add(1, Ordering::SeqCst) + 1;
        match change {
            Change::Delete => drop(cache.delete("k").await.unwrap()),
            Change::InvalidateTag => cache.invalidate_tag("t").await.unwrap(),
        }
        source.settled.fetch_max(version, Ordering::SeqCst);
    }
}

async fn read(cache: Cache, source: Arc<Source>, mut rng: Rng, rounds: usize) {
    for _ in 0..rounds {
        pause(rng.below(4)).await;
        let at_least = source.settled.load(Ordering::SeqCst);
        let seen = if rng.chance(0.3) {
            cache.get::<u64>("k").await.unwrap()
        } else {
            let (source, before, after) = (Arc::clone(&source), rng.below(4), rng.below(8));
            let load = move || async move {
                pause(before).await;
                let version = source.version.load(Ordering::SeqCst);
                pause(after).await;
                Ok::<_, Infallible>(version)
            };
            Some(cache.get_or_load("k", Ttl::hours(1).tag("t"), load).await.unwrap())
        };
        if seen.is_some_and(|seen| seen < at_least) {
            source.violations.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// How often somebody saw an old version, on two handles of one store.
async fn violations(store: Arc<dyn Store>, rounds: usize, change: Change) -> usize {
    let source = Arc::new(Source::default());
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let handle = || Cache::new(Arc::clone(&store), Options::default(), &Metrics::new(), Clock::system());
    let handles = [handle(), handle()];
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..WRITERS + READERS {
        let cache = handles[usize::try_from(n % 2).unwrap()].clone();
        let (source, rng) = (Arc::clone(&source), Seed::new(rng.next_u64()).rng());
        if n < WRITERS {
            tasks.spawn(write(cache, source, rng, rounds, change));
        } else {
            tasks.spawn(read(cache, source, rng, rounds));
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    source.violations.load(Ordering::SeqCst)
}

fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::new(&Options::default(), Clock::system()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_who_asks_after_a_delete_returned_sees_an_older_version() {
    assert_eq!(violations(memory(), 3_000, Change::Delete).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_who_asks_after_a_tag_was_invalidated_sees_an_older_version() {
    assert_eq!(violations(memory(), 3_000, Change::InvalidateTag).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_history_convicts_a_store_whose_delete_lets_old_loads_in() {
    let seen = violations(mutant(Bug::DeleteKeepsTheLease, Clock::system()), 500, Change::Delete).await;
    assert!(seen > 0);
    let seen = violations(mutant(Bug::AnyoneMayFill, Clock::system()), 500, Change::Delete).await;
    assert!(seen > 0);
    let store = mutant(Bug::EpochsReadAfterTheLoad, Clock::system());
    assert!(violations(store, 500, Change::InvalidateTag).await > 0);
}
