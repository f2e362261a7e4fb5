//! What a cache hit costs, against the bare map it is built on and against a peer, in the same run.
//!
//! `cargo bench -p mainstay-core --bench cache`. The cases take turns in short rounds, so that whatever else the
//! machine does meets them alike; the table has each one's first decile.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::cache::{Cache, Options, Ttl};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

const KEYS: usize = 1_024;
const ROUNDS: usize = 501;
/// So few that a round is shorter than the scheduler's slice: on a busy machine some rounds run undisturbed.
const TURNS: usize = 2_048;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct User {
    id: u64,
    email: String,
    name: String,
    roles: Vec<String>,
}

type Quick = QuickCache<
    Box<str>,
    Arc<User>,
    UnitWeighter,
    foldhash::fast::RandomState,
    DefaultLifecycle<Box<str>, Arc<User>>,
>;

/// A case does one operation on the key of this index.
type Case<'a> = (&'static str, &'a (dyn Fn(usize) + Sync));

fn user(n: usize) -> User {
    User {
        id: n as u64,
        email: format!("user{n}@example.com"),
        name: format!("User Number {n}"),
        roles: vec!["reader".to_owned(), "writer".to_owned()],
    }
}

/// Nanoseconds per operation where every thread runs all turns; the slowest thread counts.
fn once(threads: usize, case: &(dyn Fn(usize) + Sync)) -> f64 {
    let start = Barrier::new(threads);
    let work = |thread: usize| {
        (0..KEYS).for_each(case); // the case before has filled the processor's caches with its own
        start.wait();
        let begun = Instant::now();
        let mut at = thread * 97;
        for _ in 0..TURNS {
            at = (at + 389) % KEYS; // 389 and 1024 have no common divisor: every key in turn, none in line
            case(black_box(at));
        }
        begun.elapsed()
    };
    let slowest = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a case panicked")).max()
    });
    slowest.unwrap_or_default().as_secs_f64() * 1e9 / TURNS as f64
}

/// The first decile of each case, in nanoseconds.
fn deciles(threads: usize, cases: &[Case<'_>]) -> Vec<f64> {
    let mut samples = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for ((_, case), samples) in cases.iter().zip(&mut samples) {
            samples.push(once(threads, case));
        }
    }
    let decile = |mut samples: Vec<f64>| {
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 10]
    };
    samples.into_iter().map(decile).collect()
}

fn allocations(case: &(dyn Fn(usize) + Sync)) -> f64 {
    let counted = allocation_counter::measure(|| (0..KEYS).for_each(case));
    counted.count_total as f64 / KEYS as f64
}

fn main() {
    let keys: Vec<String> = (0..KEYS).map(|n| format!("user:{n}")).collect();
    let (metrics, clock) = (Metrics::new(), Clock::system());

    let quick: Quick = QuickCache::with(
        KEYS * 4,
        KEYS as u64 * 4,
        UnitWeighter,
        foldhash::fast::RandomState::default(),
        DefaultLifecycle::default(),
    );
    let moka = moka::future::Cache::builder()
        .max_capacity(KEYS as u64 * 4)
        .time_to_live(Duration::from_secs(3_600))
        .build_with_hasher(foldhash::fast::RandomState::default());
    let cache = Cache::in_memory(Options::default(), &metrics, clock.clone());
    let set = async {
        for (n, key) in keys.iter().enumerate() {
            quick.insert(key.as_str().into(), Arc::new(user(n)));
            moka.insert(key.clone(), Arc::new(user(n))).await;
            cache.set(key, &user(n), Ttl::hours(1)).await.expect("it is stored");
            cache.get::<Arc<User>>(key).await.expect("it is read").expect("it is there");
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(set);

    // Hits are ready at once: polled without a runtime, so that none is measured.
    let get = |n: usize| {
        let hit = cache.get::<Arc<User>>(&keys[n]).now_or_never().expect("ready");
        black_box(hit.expect("it is read").expect("a hit"));
    };
    let get_or_load = |n: usize| {
        let load = || async { Err::<Arc<User>, std::fmt::Error>(std::fmt::Error) };
        let hit = cache.get_or_load(&keys[n], Ttl::hours(1), load).now_or_never().expect("ready");
        black_box(hit.expect("a hit"));
    };
    let quick_get = |n: usize| drop(black_box(quick.get(keys[n].as_str()).expect("a hit")));
    let moka_get = |n: usize| {
        drop(black_box(moka.get(keys[n].as_str()).now_or_never().expect("ready").expect("a hit")));
    };
    // The parts a hit has beside the map's lookup.
    let now = |_: usize| _ = black_box(clock.now());
    let counter = metrics.counter("part_total").with(&[]);
    let count = |_: usize| counter.increment(1);
    let shared: Vec<Arc<User>> = (0..KEYS).map(|n| Arc::new(user(n))).collect();
    let share = |n: usize| drop(black_box(Arc::clone(&shared[n])));
    let random = |_: usize| _ = black_box(mainstay_core::cache::Token::random());

    let cases: [Case<'_>; 8] = [
        ("quick_cache bare: get", &quick_get),
        ("moka: get", &moka_get),
        ("get::<Arc<T>>", &get),
        ("get_or_load::<Arc<T>>, hit", &get_or_load),
        ("part: read the clock", &now),
        ("part: count", &count),
        ("part: share and release an Arc", &share),
        ("part: draw a token (get_or_load)", &random),
    ];
    let one = deciles(1, &cases);
    let four = deciles(4, &cases);
    println!(
        "{:<36} {:>10} {:>8} {:>10} {:>8} {:>7}",
        "", "1 thread", "x quick", "4 threads", "x quick", "allocs"
    );
    for (at, (name, case)) in cases.iter().enumerate() {
        let ratio = |times: &[f64]| times[at] / times[0];
        println!(
            "{name:<36} {:>7.1} ns {:>8.2} {:>7.1} ns {:>8.2} {:>7.2}",
            one[at],
            ratio(&one),
            four[at],
            ratio(&four),
            allocations(case)
        );
    }
}
