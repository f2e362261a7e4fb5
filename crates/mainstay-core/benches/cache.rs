//! What a cache hit costs, against the bare map it is built on and against a peer, in the same run: with few keys,
//! which stay in the processor's caches, and with so many that each hit has to fetch its memory.
//!
//! `cargo bench -p mainstay-core --bench cache`. The cases take turns in short rounds, so that whatever else the
//! machine does meets them alike; the table has each one's first decile.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::cache::{Cache, Options, Token, Ttl};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Fewest turns of a round. With few keys it is shorter than the scheduler's slice: on a busy machine some rounds
/// run undisturbed.
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

/// A case does one operation on this key.
type Case<'a> = (&'static str, &'a (dyn Fn(&str) + Sync));

fn user(n: usize) -> User {
    User {
        id: n as u64,
        email: format!("user{n}@example.com"),
        name: format!("User Number {n}"),
        roles: vec!["reader".to_owned(), "writer".to_owned()],
    }
}

/// Nanoseconds per operation where every thread runs all turns; the slowest thread counts.
fn once(threads: usize, keys: &[String], case: &(dyn Fn(&str) + Sync)) -> f64 {
    let start = Barrier::new(threads);
    let turns = keys.len().max(TURNS);
    let work = |thread: usize| {
        keys.iter().for_each(|key| case(key)); // the case before has filled the processor's caches with its own
        start.wait();
        let begun = Instant::now();
        keys.iter().cycle().skip(thread * 97).take(turns).for_each(|key| case(black_box(key)));
        begun.elapsed()
    };
    let slowest = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a case panicked")).max()
    });
    slowest.unwrap_or_default().as_secs_f64() * 1e9 / turns as f64
}

/// The first decile of each case, in nanoseconds.
fn deciles(threads: usize, rounds: usize, keys: &[String], cases: &[Case<'_>]) -> Vec<f64> {
    let mut samples = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for ((_, case), samples) in cases.iter().zip(&mut samples) {
            samples.push(once(threads, keys, case));
        }
    }
    let decile = |mut samples: Vec<f64>| {
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 10]
    };
    samples.into_iter().map(decile).collect()
}

fn allocations(keys: &[String], case: &(dyn Fn(&str) + Sync)) -> f64 {
    let counted = allocation_counter::measure(|| keys.iter().for_each(|key| case(key)));
    counted.count_total as f64 / keys.len() as f64
}

fn table(rounds: usize, keys: &[String], cases: &[Case<'_>]) {
    let one = deciles(1, rounds, keys, cases);
    let four = deciles(4, rounds, keys, cases);
    println!(
        "{:<36} {:>10} {:>8} {:>10} {:>8} {:>7}",
        format!("{} keys", keys.len()),
        "1 thread",
        "x quick",
        "4 threads",
        "x quick",
        "allocs"
    );
    for (at, (name, case)) in cases.iter().enumerate() {
        let ratio = |times: &[f64]| times[at] / times[0];
        println!(
            "{name:<36} {:>7.1} ns {:>8.2} {:>7.1} ns {:>8.2} {:>7.2}",
            one[at],
            ratio(&one),
            four[at],
            ratio(&four),
            allocations(keys, case)
        );
    }
}

/// Hits among so many keys.
fn hits(count: usize, rounds: usize) {
    let mut keys: Vec<String> = (0..count).map(|n| format!("user:profile:{n:07}")).collect();
    let (metrics, clock) = (Metrics::new(), Clock::system());
    let quick: Quick = QuickCache::with(
        count * 4,
        count as u64 * 4,
        UnitWeighter,
        foldhash::fast::RandomState::default(),
        DefaultLifecycle::default(),
    );
    let moka = moka::future::Cache::builder()
        .max_capacity(count as u64 * 4)
        .time_to_live(Duration::from_secs(3_600))
        .build_with_hasher(foldhash::fast::RandomState::default());
    let mut options = Options::default();
    options.max_bytes = 256 << 20;
    let cache = Cache::in_memory(options, &metrics, clock.clone());
    // One after the other: each has its memory in one piece.
    let set = async {
        for (n, key) in keys.iter().enumerate() {
            quick.insert(key.as_str().into(), Arc::new(user(n)));
        }
        for (n, key) in keys.iter().enumerate() {
            moka.insert(key.clone(), Arc::new(user(n))).await;
        }
        for (n, key) in keys.iter().enumerate() {
            cache.set(key, &user(n), Ttl::hours(1)).await.expect("it is stored");
            cache.get::<Arc<User>>(key).await.expect("it is read").expect("it is there");
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(set);
    keys.shuffle(&mut StdRng::seed_from_u64(1));
    // New, so that they lie in the order they are asked for: a caller has the key at hand, a cache its entry not.
    let keys: Vec<String> = keys.iter().map(|key| String::from(key.as_str())).collect();

    // Hits are ready at once: polled without a runtime, so that none is measured.
    let get = |key: &str| {
        let hit = cache.get::<Arc<User>>(key).now_or_never().expect("ready");
        black_box(hit.expect("it is read").expect("a hit"));
    };
    let get_or_load = |key: &str| {
        let load = || async { Err::<Arc<User>, std::fmt::Error>(std::fmt::Error) };
        let hit = cache.get_or_load(key, Ttl::hours(1), load).now_or_never().expect("ready");
        black_box(hit.expect("a hit"));
    };
    let quick_get = |key: &str| drop(black_box(quick.get(key).expect("a hit")));
    let moka_get = |key: &str| {
        drop(black_box(moka.get(key).now_or_never().expect("ready").expect("a hit")));
    };
    // The parts a hit has beside the map's lookup.
    let now = |_: &str| _ = black_box(clock.now());
    let counter = metrics.counter("part_total").with(&[]);
    let count = |_: &str| counter.increment(1);
    let shared = Arc::new(user(0));
    let share = |_: &str| drop(black_box(Arc::clone(&shared)));
    let random = |_: &str| _ = black_box(Token::random());

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
    table(rounds, &keys, &cases);
}

fn main() {
    hits(1_024, 501);
    hits(100_000, 21);
}
