//! What a whole pipeline costs a call that succeeds at once, beside the bare call and a breaker alone: nanoseconds and
//! allocations for each, one thread and four.
//!
//! `cargo bench -p mainstay-core --bench pipeline`; each figure is the median of the samples.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::hint::black_box;

use mainstay_core::breaker::{self, Breaker};
use mainstay_core::metrics::Metrics;
use mainstay_core::pipeline::{Judgement, Limit, Outcome, Pipeline, Policy};
use mainstay_core::time::Clock;
use tokio::runtime::Builder;
use tokio::time::Instant;

const SAMPLES: usize = 9;
const CALLS: usize = 200_000;

/// The call itself: nothing, as something that could wait.
async fn work(number: usize) -> Result<usize, ()> {
    Ok(black_box(number))
}

#[expect(clippy::needless_pass_by_value, reason = "as the trait has it")]
fn classify(outcome: Outcome<'_, usize, ()>) -> Judgement {
    match outcome {
        Outcome::Done(_) => Judgement::SUCCESS,
        _ => Judgement::TRANSIENT,
    }
}

/// Nanoseconds and allocations for each of the calls of `caller`, in so many threads.
fn measure<C, F>(threads: usize, caller: C) -> (f64, f64)
where
    C: Fn(usize) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let runtime =
        Builder::new_multi_thread().worker_threads(threads).enable_time().build().expect("a runtime");
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..threads).map(|_| tokio::spawn(caller(CALLS))).collect();
            for task in tasks {
                task.await.expect("a case panicked");
            }
        });
        samples.push(begun.elapsed().as_secs_f64() * 1e9 / CALLS as f64);
    }
    samples.sort_by(f64::total_cmp);
    // They are counted for each thread: here, those of this one.
    let here = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let counted = allocation_counter::measure(|| here.block_on(caller(1_000)));
    (samples[SAMPLES / 2], counted.count_total as f64 / 1e3)
}

fn line(what: &str, one: (f64, f64), four: (f64, f64)) {
    println!("{what:<44} {:>9.0} {:>9.0} {:>12.2}", one.0, four.0, one.1);
}

fn main() {
    let (metrics, clock) = (Metrics::new(), Clock::system());
    let breaker = |name: &str| {
        Breaker::new(name, breaker::Policy::default(), &metrics, clock.clone()).expect("a policy")
    };
    println!("{:<44} {:>9} {:>9} {:>12}", "ns per call, threads", 1, 4, "allocations");
    let bare = |threads| {
        measure(threads, |calls| async move {
            for number in 0..calls {
                black_box(work(number).await).expect("it succeeds");
            }
        })
    };
    line("bare call", bare(1), bare(4));
    let timed = |threads| {
        measure(threads, |calls| async move {
            for number in 0..calls {
                let time = std::time::Duration::from_secs(3);
                black_box(tokio::time::timeout(time, work(number)).await)
                    .expect("in time")
                    .expect("it succeeds");
            }
        })
    };
    line("tokio::time::timeout round it", timed(1), timed(4));
    let guarded = |threads| {
        let breaker = breaker("alone");
        measure(threads, move |calls| {
            let breaker = breaker.clone();
            async move {
                for number in 0..calls {
                    black_box(breaker.call(|| work(number)).await).expect("it succeeds");
                }
            }
        })
    };
    line("breaker alone", guarded(1), guarded(4));
    let whole = |policy: Policy| {
        let (breaker, metrics, clock) = (breaker("whole"), metrics.clone(), clock.clone());
        move |threads| {
            let pipeline = Pipeline::new("whole", policy.clone(), breaker.clone(), &metrics, clock.clone())
                .expect("a policy");
            measure(threads, move |calls| {
                let pipeline = pipeline.clone();
                async move {
                    for number in 0..calls {
                        black_box(pipeline.call(classify, |_| work(number)).await).expect("it succeeds");
                    }
                }
            })
        }
    };
    let fixed = whole(Policy::default());
    line("pipeline: deadline, retry, breaker, bulkhead", fixed(1), fixed(4));
    let mut policy = Policy::default();
    policy.limit = Limit::Adaptive(Default::default());
    let adaptive = whole(policy);
    line("the same with an adaptive limit", adaptive(1), adaptive(4));
    let mut policy = Policy::default();
    policy.hedge = Some(Default::default());
    let hedged = whole(policy);
    line("the same with a bulkhead and hedging", hedged(1), hedged(4));
}
