//! What a call through a closed breaker costs, against the bare call, one shared atomic, and other breakers in the
//! same run.
//!
//! `cargo bench -p mainstay-core --bench breaker`; the table at the end has the ratios.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::Criterion;
use failsafe::{CircuitBreaker, backoff, failure_policy, futures::CircuitBreaker as AsyncCircuitBreaker};
use mainstay_core::breaker::{Breaker, Mode, Policy, Window};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use recloser::{AsyncRecloser, Recloser};
use tokio::time::Instant;
use tower::Service;
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

const THREADS: usize = 4;
const CASES: [&str; 14] = [
    "bare call",
    "bare async call",
    "shared atomic",
    "permit",
    "call, blocking",
    "call",
    "call, slow calls looked for",
    "call, window of time",
    "refused",
    "failsafe, consecutive",
    "failsafe, rate over time",
    "failsafe, consecutive, async",
    "recloser",
    "recloser, async",
];
const TOWER: &str = "tower-resilience, async";

/// Runs cases under criterion and keeps their medians for the table.
struct Bench {
    criterion: Criterion,
    nanos: BTreeMap<(String, usize), f64>,
}

impl Bench {
    fn run(&mut self, name: &'static str, operation: impl Fn() + Sync) {
        self.run_with(name, || (), |()| operation());
    }

    /// Each of 1 and of 4 threads runs all iterations, on something of its own; the slowest counts.
    fn run_with<T>(
        &mut self,
        name: &'static str,
        prepare: impl Fn() -> T + Sync,
        operation: impl Fn(&mut T) + Sync,
    ) {
        for threads in [1, THREADS] {
            let mut samples = Vec::new();
            self.criterion.bench_function(&format!("{name}/{threads}"), |bencher| {
                bencher.iter_custom(|iterations| {
                    let start = Barrier::new(threads);
                    let work = || {
                        let mut own = prepare();
                        start.wait();
                        let start = Instant::now();
                        (0..iterations).for_each(|_| operation(&mut own));
                        start.elapsed()
                    };
                    let time = std::thread::scope(|scope| {
                        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
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
                self.nanos.insert((name.to_owned(), threads), *median);
            }
        }
    }

    fn table(&self) {
        let of = |name: &str, threads| self.nanos.get(&(name.to_owned(), threads)).copied();
        println!("\n{:<32} {:>10} {:>10} {:>10} {:>10}", "", "1 thread", "x call", "4 threads", "x call");
        for name in CASES.into_iter().chain([TOWER]) {
            if let (Some(one), Some(four), Some(ours), Some(ours_4)) =
                (of(name, 1), of(name, THREADS), of("call", 1), of("call", THREADS))
            {
                println!(
                    "{name:<32} {one:>7.1} ns {:>10.2} {four:>7.1} ns {:>10.2}",
                    one / ours,
                    four / ours_4
                );
            }
        }
    }
}

/// Polls until it is ready: none of these waits for more than another thread.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::hint::spin_loop();
    }
}

fn work() -> Result<u64, u64> {
    black_box(Ok(1))
}

async fn work_async() -> Result<u64, u64> {
    work()
}

fn breaker(change: impl FnOnce(&mut Policy)) -> Breaker {
    let mut policy = Policy::default();
    change(&mut policy);
    Breaker::new("bench", policy, &Metrics::new(), Clock::system()).expect("a policy that can be")
}

fn main() {
    let criterion = Criterion::default()
        .configure_from_args()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700));
    let mut bench = Bench { criterion, nanos: BTreeMap::new() };
    ours(&mut bench);
    peers(&mut bench);
    bench.criterion.final_summary();
    bench.table();
    allocations();
}

fn ours(bench: &mut Bench) {
    bench.run("bare call", || {
        let _ = black_box(work());
    });
    bench.run("bare async call", || {
        let _ = black_box(run(work_async()));
    });
    let atomic = AtomicU64::new(0);
    bench.run("shared atomic", || {
        let _ = black_box(atomic.fetch_add(1, Ordering::Relaxed));
    });

    let plain = breaker(|_| {});
    bench.run("permit", || plain.try_acquire().expect("closed").success());
    bench.run("call, blocking", || drop(black_box(plain.call_blocking(work))));
    bench.run("call", || drop(black_box(run(plain.call(work_async)))));
    let slow = breaker(|policy| policy.slow_call = Duration::from_secs(1));
    bench.run("call, slow calls looked for", || drop(black_box(run(slow.call(work_async)))));
    let time = breaker(|policy| policy.window = Window::Time(Duration::from_secs(10)));
    bench.run("call, window of time", || drop(black_box(run(time.call(work_async)))));
    let open = breaker(|_| {});
    open.force(Mode::ForcedOpen);
    bench.run("refused", || drop(black_box(run(open.call(work_async)))));
}

fn peers(bench: &mut Bench) {
    let waits = backoff::constant(Duration::from_secs(5));
    let in_a_row = failsafe::Config::new()
        .failure_policy(failure_policy::consecutive_failures(5, waits.clone()))
        .build();
    bench.run("failsafe, consecutive", || {
        drop(black_box(CircuitBreaker::call(&in_a_row, work)));
    });
    bench.run("failsafe, consecutive, async", || {
        drop(black_box(run(AsyncCircuitBreaker::call(&in_a_row, work_async()))));
    });
    let window = Duration::from_secs(10);
    let rate = failure_policy::success_rate_over_time_window(0.5, 20, window, waits);
    let rate = failsafe::Config::new().failure_policy(rate).build();
    bench.run("failsafe, rate over time", || drop(black_box(CircuitBreaker::call(&rate, work))));

    let peer = || Recloser::custom().closed_len(100).build();
    let recloser = peer();
    bench.run("recloser", || drop(black_box(recloser.call(work))));
    let recloser = AsyncRecloser::from(peer());
    bench.run("recloser, async", || drop(black_box(run(recloser.call(work_async())))));

    let layer = CircuitBreakerLayer::builder().sliding_window_size(100).minimum_number_of_calls(20);
    let layer = layer.build().expect("a policy that can be");
    let service = layer.layer_fn(tower::service_fn(|()| work_async()));
    bench.run_with(TOWER, || service.clone(), |service| drop(black_box(run(service.call(())))));
}

fn allocations() {
    let plain = breaker(|_| {});
    let thousand = || {
        (0..1_000).for_each(|_| {
            let _ = black_box(run(plain.call(work_async)));
        });
    };
    thousand();
    println!("allocations per 1,000 calls: {}", allocation_counter::measure(thousand).count_total);
    plain.force(Mode::ForcedOpen);
    println!("allocations per 1,000 refusals: {}", allocation_counter::measure(thousand).count_total);
}
