//! What a lock costs, against `tokio::sync::Mutex` in the same run. That one knows no name, no fence, no ttl, no
//! renewal and no other process: it is the limit, not a peer.
//!
//! `cargo bench -p mainstay-core --bench lock`; each figure is the median of the samples.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::lock::{Locks, Options};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;
use tokio::time::Instant;

const SAMPLES: usize = 15;
const TURNS: u64 = 50_000;
const TASKS: usize = 64;

fn locks() -> Locks {
    Locks::in_memory(Options::default(), &Metrics::new(), Clock::system())
}

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_time().build().expect("a runtime")
}

/// Nanoseconds for each of `turns`, by `tasks` tasks side by side; the slowest counts.
fn measure<F: Future<Output = ()> + Send + 'static>(
    threads: usize,
    tasks: usize,
    turns: u64,
    task: impl Fn(usize, u64) -> F,
) -> f64 {
    let runtime = runtime(threads);
    let mut samples: Vec<_> = (0..SAMPLES)
        .map(|_| {
            runtime.block_on(async {
                let start = Instant::now();
                let tasks: Vec<_> = (0..tasks).map(|n| tokio::spawn(task(n, turns))).collect();
                for task in tasks {
                    task.await.expect("a case panicked");
                }
                start.elapsed().as_nanos() as f64 / turns as f64
            })
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    samples[SAMPLES / 2]
}

/// With a pause while it holds, every turn is a handover to one who waits.
fn mainstay(threads: usize, tasks: usize, turns: u64, key: fn(usize) -> String, pause: bool) -> f64 {
    let locks = locks();
    measure(threads, tasks, turns, |n, turns| {
        let (locks, key) = (locks.clone(), key(n));
        async move {
            for _ in 0..turns {
                let request = locks.lock(key.as_str()).wait(Duration::from_secs(3600));
                let guard = black_box(request.acquire().await.expect("held by nobody for an hour"));
                if pause {
                    tokio::task::yield_now().await;
                }
                drop(guard);
            }
        }
    })
}

fn tokio_mutex(threads: usize, tasks: usize, turns: u64, own: bool) -> f64 {
    let mutexes: Vec<_> = (0..tasks).map(|_| Arc::new(Mutex::new(()))).collect();
    measure(threads, tasks, turns, |n, turns| {
        let mutex = Arc::clone(&mutexes[if own { n } else { 0 }]);
        async move {
            for _ in 0..turns {
                let guard = black_box(mutex.lock().await);
                if !own {
                    tokio::task::yield_now().await;
                }
                drop(guard);
            }
        }
    })
}

fn tokio_owned(threads: usize, tasks: usize, turns: u64) -> f64 {
    let mutexes: Vec<_> = (0..tasks).map(|_| Arc::new(Mutex::new(()))).collect();
    measure(threads, tasks, turns, |n, turns| {
        let mutex = Arc::clone(&mutexes[n]);
        async move {
            for _ in 0..turns {
                drop(black_box(Arc::clone(&mutex).lock_owned().await));
            }
        }
    })
}

fn check() -> f64 {
    measure(1, 1, 1_000_000, |_, turns| async move {
        let guard = locks().lock("k").acquire().await.expect("nobody else");
        for _ in 0..turns {
            let _held = black_box(black_box(&guard).check());
        }
    })
}

fn clock() -> f64 {
    measure(1, 1, 1_000_000, |_, turns| async move {
        let clock = Clock::system();
        for _ in 0..turns {
            black_box(clock.now());
        }
    })
}

fn row(what: &str, this: f64, other: f64, peer: &str) {
    println!("{what:<46} {this:>9.1} ns {other:>9.1} ns {:>7.2} x {peer}", this / other);
}

fn main() {
    println!("{:<46} {:>12} {:>12}", "", "this", "other");
    for threads in [1, 4] {
        let this = mainstay(threads, threads, TURNS, |n| format!("key-{n}"), false);
        let what = format!("lock+release, own key, {threads} threads");
        row(&what, this, tokio_mutex(threads, threads, TURNS, true), "tokio Mutex");
        row(&what, this, tokio_owned(threads, threads, TURNS), "tokio Mutex, owned guard");
    }
    for threads in [1, 4] {
        // Per handover: all tasks' turns are one queue.
        let turns = 500;
        let each = TASKS as f64;
        let this = mainstay(threads, TASKS, turns, |_| "key".to_owned(), true) / each;
        let other = tokio_mutex(threads, TASKS, turns, false) / each;
        row(&format!("{TASKS} tasks on one key, {threads} threads"), this, other, "tokio Mutex");
    }
    row("check()", check(), clock(), "one reading of the clock");
}
