//! What a check costs, against governor in the same run.
//!
//! `cargo bench -p mainstay-core --bench rate_limit`; the table at the end has the ratios.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::time::Duration;

use criterion::Criterion;
use futures_util::FutureExt;
use governor::{Quota as PeerQuota, RateLimiter as Peer};
use mainstay_core::metrics::Metrics;
use mainstay_core::rate_limit::{Charge, Decision, Options, Quota, RateLimiter};
use mainstay_core::time::Clock;
use tokio::time::Instant;

const THREADS: usize = 4;

/// More than a bench can use up, and less than 2²⁴ in a window.
const PLENTY: Quota = Quota::new(16_000_000, Duration::from_secs(1));
/// Used up at once.
const SCARCE: Quota = Quota::per_hour(1);

/// Runs cases under criterion and keeps their medians for the table.
struct Bench {
    criterion: Criterion,
    nanos: BTreeMap<&'static str, f64>,
}

impl Bench {
    /// Every thread runs all iterations; the slowest counts.
    fn run(&mut self, name: &'static str, threads: usize, operation: impl Fn(usize) + Sync) {
        let mut samples = Vec::new();
        self.criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let start = Barrier::new(threads);
                let work = |thread| {
                    start.wait();
                    let start = Instant::now();
                    (0..iterations).for_each(|_| operation(thread));
                    start.elapsed()
                };
                let time = std::thread::scope(|scope| {
                    let threads: Vec<_> =
                        (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
                    threads.into_iter().map(|thread| thread.join().expect("a case panicked")).max()
                });
                let time = time.unwrap_or_default();
                // The first, short runs only warm up.
                if time > Duration::from_millis(1) {
                    samples.push(time.as_secs_f64() * 1e9 / iterations as f64);
                }
                time
            });
        });
        samples.sort_by(f64::total_cmp);
        if let Some(median) = samples.get(samples.len() / 2) {
            self.nanos.insert(name, *median);
        }
    }

    /// `name` as a multiple of `to`.
    fn ratio(&self, what: &str, name: &str, to: &str) {
        let (Some(a), Some(b)) = (self.nanos.get(name), self.nanos.get(to)) else { return };
        println!("{what:<44} {a:>9.1} ns {b:>9.1} ns {:>7.2} x {to}", a / b);
    }
}

fn check(limiter: &RateLimiter, key: &str, quota: Quota) -> Decision {
    let decision = limiter.check(key, quota).now_or_never().expect("an answer at once");
    decision.expect("the quotas are right")
}

fn main() {
    let criterion = Criterion::default()
        .configure_from_args()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    let mut bench = Bench { criterion, nanos: BTreeMap::new() };
    ours(&mut bench);
    peers(&mut bench);
    bench.criterion.final_summary();

    println!("\n{:<44} {:>12} {:>12}", "", "this", "other");
    for (what, name, direct, keyed) in [
        ("admitted, 1 thread", "admit_1", "governor_admit_1", "governor_keyed_admit_1"),
        ("admitted, 4 threads on one key", "admit_4", "governor_admit_4", "governor_keyed_admit_4"),
        ("refused, 1 thread", "refuse_1", "governor_refuse_1", "governor_keyed_refuse_1"),
        ("refused, 4 threads on one key", "refuse_4", "governor_refuse_4", "governor_keyed_refuse_4"),
    ] {
        bench.ratio(what, name, direct);
        bench.ratio(what, name, keyed);
    }
    bench.ratio("admitted, 4 threads on a key each", "admit_own_4", "governor_keyed_admit_own_4");
    bench.ratio("GCRA admitted, 1 thread", "gcra_1", "governor_keyed_admit_1");
    bench.ratio("GCRA admitted, 4 threads on one key", "gcra_4", "governor_keyed_admit_4");
    bench.ratio("two limits at once, 1 thread", "two_limits_1", "admit_1");
    bench.ratio("one of 100,000 keys, 1 thread", "many_keys_1", "admit_1");
    allocations();
}

fn ours(bench: &mut Bench) {
    let limiter = RateLimiter::in_memory(Options::default(), &Metrics::new(), Clock::system());
    for (threads, admit, refuse, gcra) in
        [(1, "admit_1", "refuse_1", "gcra_1"), (THREADS, "admit_4", "refuse_4", "gcra_4")]
    {
        bench.run(admit, threads, |_| {
            black_box(check(&limiter, black_box("user:123"), PLENTY));
        });
        bench.run(refuse, threads, |_| {
            black_box(check(&limiter, black_box("user:123"), SCARCE));
        });
        let smooth = PLENTY.gcra(16_000_000);
        bench.run(gcra, threads, |_| {
            black_box(check(&limiter, black_box("user:123"), smooth));
        });
    }
    let own: Vec<String> = (0..THREADS).map(|thread| format!("user:{thread}")).collect();
    bench.run("admit_own_4", THREADS, |thread| {
        black_box(check(&limiter, &own[thread], PLENTY));
    });
    let charges = [Charge::new("user:123", PLENTY), Charge::new("ip:1", PLENTY.named("ip"))];
    bench.run("two_limits_1", 1, |_| {
        black_box(limiter.check_all(&charges).now_or_never());
    });
    let keys: Vec<String> = (0..90_000).map(|key| format!("user:{key}")).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    bench.run("many_keys_1", 1, |_| {
        let key = next.fetch_add(7, std::sync::atomic::Ordering::Relaxed) % keys.len();
        black_box(check(&limiter, &keys[key], PLENTY));
    });
}

fn peers(bench: &mut Bench) {
    let plenty = PeerQuota::per_second(NonZeroU32::new(1_000_000_000).expect("not zero"));
    let scarce = PeerQuota::per_hour(NonZeroU32::MIN);
    let (direct, direct_scarce) = (Peer::direct(plenty), Peer::direct(scarce));
    let (keyed, keyed_scarce) = (Peer::keyed(plenty), Peer::keyed(scarce));
    let key = || String::from("user:123");
    for (threads, [admit, refuse, keyed_admit, keyed_refuse]) in [
        (1, ["governor_admit_1", "governor_refuse_1", "governor_keyed_admit_1", "governor_keyed_refuse_1"]),
        (
            THREADS,
            ["governor_admit_4", "governor_refuse_4", "governor_keyed_admit_4", "governor_keyed_refuse_4"],
        ),
    ] {
        bench.run(admit, threads, |_| {
            let _ = black_box(direct.check());
        });
        bench.run(refuse, threads, |_| {
            let _ = black_box(direct_scarce.check());
        });
        let name = key();
        bench.run(keyed_admit, threads, |_| {
            let _ = black_box(keyed.check_key(black_box(&name)));
        });
        bench.run(keyed_refuse, threads, |_| {
            let _ = black_box(keyed_scarce.check_key(black_box(&name)));
        });
    }
    let own: Vec<String> = (0..THREADS).map(|thread| format!("user:{thread}")).collect();
    bench.run("governor_keyed_admit_own_4", THREADS, |thread| {
        let _ = black_box(keyed.check_key(&own[thread]));
    });
}

fn allocations() {
    let limiter = RateLimiter::in_memory(Options::default(), &Metrics::new(), Clock::system());
    let count = |quota| {
        check(&limiter, "user:123", quota);
        check(&limiter, "user:123", quota);
        let thousand = || {
            (0..1_000).for_each(|_| {
                black_box(check(&limiter, "user:123", quota));
            });
        };
        allocation_counter::measure(thousand).count_total
    };
    println!("allocations per 1,000 refusals: {}", count(SCARCE));
    println!("allocations per 1,000 admissions of a known key: {}", count(PLENTY));
}
