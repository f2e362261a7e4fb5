//! Updates from many threads add up.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay_core::metrics::{Metrics, Options};

use super::{sample, samples};

const THREADS: usize = 8;
const ROUNDS: usize = 20_000;

/// Runs `work` on all threads, started together.
fn on_all_threads(work: impl Fn(usize) + Sync) {
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(thread);
            });
        }
    });
}

#[test]
fn concurrent_updates_of_kept_handles_are_exact() {
    let metrics = Metrics::new();
    let counter = metrics.counter("c_total").with(&[("k", "v")]);
    let gauge = metrics.gauge("g").with(&[]);
    let histogram = metrics.histogram("h").with(&[]);
    let summary = metrics.summary("s").with(&[]);
    on_all_threads(|_| {
        let (counter, gauge, histogram) = (counter.clone(), gauge.clone(), histogram.clone());
        for round in 0..ROUNDS {
            counter.increment(2);
            gauge.add(3.0);
            gauge.sub(2.0);
            histogram.record_duration(Duration::from_secs(round as u64 % 2));
            summary.record(1.0);
        }
    });
    let all = (THREADS * ROUNDS) as u64;
    assert_eq!(counter.get(), 2 * all);
    assert_eq!(sample(&metrics, r#"c_total{k="v"}"#), Some((2 * all).to_string()));
    assert_eq!(sample(&metrics, "g"), Some(all.to_string()));
    assert_eq!(sample(&metrics, r#"h_bucket{le="0.5"}"#), Some((all / 2).to_string()));
    assert_eq!(sample(&metrics, "h_count"), Some(all.to_string()));
    assert_eq!(sample(&metrics, "h_sum"), Some((all / 2).to_string()));
    assert_eq!(sample(&metrics, "s_count"), Some(all.to_string()));
}

#[test]
fn concurrent_updates_by_name_are_exact_while_series_are_created() {
    let metrics = Metrics::with_options(Options { max_series_per_metric: 50, ..Options::default() });
    on_all_threads(|thread| {
        for round in 0..ROUNDS / 10 {
            let n = ((round * (thread + 1)) % 100).to_string();
            metrics.counter("c_total").with(&[("n", &n)]).increment(1);
            metrics.counter("plain_total").increment(1);
        }
    });
    let total: usize = samples(&metrics)
        .iter()
        .filter(|line| line.starts_with("c_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(total, THREADS * ROUNDS / 10);
    assert_eq!(samples(&metrics).iter().filter(|line| line.starts_with("c_total{")).count(), 51);
    assert_eq!(sample(&metrics, "plain_total"), Some(total.to_string()));
}

#[test]
fn no_update_is_lost_while_series_expire_all_the_time() {
    let metrics = Metrics::with_options(Options { idle_after: Some(Duration::ZERO), ..Options::default() });
    let kept = metrics.counter("c_total").with(&[("k", "v")]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                metrics.upkeep();
            }
        });
        on_all_threads(|thread| {
            for _ in 0..ROUNDS / 4 {
                if thread % 2 == 0 {
                    kept.increment(1);
                } else {
                    metrics.counter("c_total").with(&[("k", "v")]).increment(1);
                }
            }
        });
        done.store(true, Ordering::Relaxed);
    });
    kept.increment(1);
    assert_eq!(samples(&metrics), [format!("c_total{{k=\"v\"}} {}", THREADS * ROUNDS / 4 + 1)]);
}

#[test]
fn rendering_meanwhile_shows_whole_lines_and_totals_that_only_grow() {
    let metrics = Metrics::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            on_all_threads(|thread| {
                for round in 0..ROUNDS / 10 {
                    let n = (round % 40 + thread).to_string();
                    metrics.histogram("h").with(&[("n", &n)]).record(0.3);
                    metrics.counter("c_total").increment(1);
                }
            });
            done.store(true, Ordering::Relaxed);
        });
        let mut last = 0;
        while !done.load(Ordering::Relaxed) {
            let lines = samples(&metrics);
            assert!(lines.is_sorted_by_key(|line| line.starts_with('h')), "families are not mixed");
            for line in &lines {
                let (_, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
            let total = lines.iter().find_map(|line| line.strip_prefix("c_total ")).unwrap_or("0");
            let total: u64 = total.parse().unwrap();
            assert!(total >= last);
            last = total;
        }
    });
    assert_eq!(sample(&metrics, "c_total"), Some((THREADS * ROUNDS / 10).to_string()));
}
