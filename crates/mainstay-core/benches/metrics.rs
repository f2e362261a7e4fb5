//! What a metric costs, against the physical limit and the best peer in the same run.
//!
//! `cargo bench -p mainstay-core --bench metrics`; the table at the end has the ratios.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use criterion::Criterion;
use mainstay_core::metrics::{Format, Metrics};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter as PeerCounter;
use prometheus_client::metrics::family::Family as PeerFamily;
use prometheus_client::registry::Registry as PeerRegistry;
use tokio::time::Instant;

const THREADS: usize = 4;
const LABELS: [(&str, &str); 3] = [("method", "GET"), ("route", "/api/users/{id}"), ("status", "200")];

/// Runs cases under criterion and keeps their medians for the table.
struct Bench {
    criterion: Criterion,
    nanos: BTreeMap<&'static str, f64>,
}

impl Bench {
    fn run(&mut self, name: &'static str, mut case: impl FnMut(u64) -> Duration) {
        let mut samples = Vec::new();
        self.criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let time = case(iterations);
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

    fn single(&mut self, name: &'static str, mut operation: impl FnMut()) {
        self.run(name, |iterations| {
            let start = Instant::now();
            (0..iterations).for_each(|_| operation());
            start.elapsed()
        });
    }

    /// Every thread runs all iterations; the slowest counts.
    fn threaded(&mut self, name: &'static str, operation: impl Fn(usize) + Sync) {
        self.run(name, |iterations| {
            let start = Barrier::new(THREADS);
            let work = |thread| {
                start.wait();
                let start = Instant::now();
                (0..iterations).for_each(|_| operation(thread));
                start.elapsed()
            };
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
                threads.into_iter().map(|thread| thread.join().expect("a case panicked")).max()
            })
            .unwrap_or_default()
        });
    }

    /// `name` as a multiple of `to`.
    fn ratio(&self, what: &str, name: &str, to: &str) {
        let (Some(a), Some(b)) = (self.nanos.get(name), self.nanos.get(to)) else { return };
        println!("{what:<44} {:>12} {:>12} {:>7.2} x {to}", time(*a), time(*b), a / b);
    }
}

fn time(nanos: f64) -> String {
    if nanos < 10_000.0 { format!("{nanos:.1} ns") } else { format!("{:.3} ms", nanos / 1e6) }
}

fn main() {
    let criterion = Criterion::default()
        .configure_from_args()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    let mut bench = Bench { criterion, nanos: BTreeMap::new() };
    increments(&mut bench);
    by_name(&mut bench);
    observations(&mut bench);
    renders(&mut bench);
    bench.criterion.final_summary();

    println!("\n{:<44} {:>12} {:>12}", "", "this", "other");
    bench.ratio("kept counter, 1 thread (goal 12 ns)", "kept_1", "limit_atomic_1");
    bench.ratio("kept counter, 4 threads (goal 15 ns)", "kept_4", "limit_own_line_4");
    bench.ratio("kept counter, 1 thread", "kept_1", "peer_kept_1");
    bench.ratio("kept counter, 4 threads", "kept_4", "peer_kept_4");
    bench.ratio("by name, no labels", "by_name_0", "limit_atomic_1");
    bench.ratio("by name, 1 label (goal 70 ns)", "by_name_1", "limit_atomic_1");
    bench.ratio("by name, 1 label, 10,000 series in turn", "by_name_1_of_10000", "by_name_1");
    bench.ratio("by name, 3 labels", "by_name_3", "peer_by_labels_3");
    bench.ratio("by name, 3 labels, 4 threads", "by_name_3_4", "peer_by_labels_3_4");
    bench.ratio("histogram record, 1 thread", "histogram_1", "limit_atomic_1");
    bench.ratio("histogram record, 4 threads", "histogram_4", "limit_own_line_4");
    bench.ratio("summary record, 1 thread", "summary_1", "histogram_1");
    bench.ratio("render 1,000 series (goal 0.1 ms)", "render_1000", "limit_render_1000");
    bench.ratio("render 10,000 series (goal 1 ms)", "render_10000", "limit_render_10000");
    bench.ratio("render 1,000 series", "render_1000", "peer_render_1000");
    bench.ratio("render 10,000 series", "render_10000", "peer_render_10000");
}

#[repr(align(128))]
struct OwnLine(AtomicU64);

fn increments(bench: &mut Bench) {
    let atomic = AtomicU64::new(0);
    bench.single("limit_atomic_1", || {
        black_box(&atomic).fetch_add(1, Relaxed);
    });
    bench.threaded("shared_atomic_4", |_| {
        black_box(&atomic).fetch_add(1, Relaxed);
    });
    let lines: Vec<_> = (0..THREADS).map(|_| OwnLine(AtomicU64::new(0))).collect();
    bench.threaded("limit_own_line_4", |thread| {
        black_box(&lines[thread]).0.fetch_add(1, Relaxed);
    });
    let metrics = Metrics::new();
    // Its own series for the single thread: it has not met contention.
    let counter = metrics.counter("kept_total").with(&[("threads", "1")]);
    bench.single("kept_1", || black_box(&counter).increment(1));
    let counter = metrics.counter("kept_total").with(&[("threads", "4")]);
    bench.threaded("kept_4", |_| black_box(&counter).increment(1));
    let peer: PeerCounter = PeerCounter::default();
    bench.single("peer_kept_1", || {
        black_box(&peer).inc();
    });
    bench.threaded("peer_kept_4", |_| {
        black_box(&peer).inc();
    });
}

type PeerLabels = Vec<(String, String)>;

fn by_name(bench: &mut Bench) {
    let metrics = Metrics::new();
    let name = "http_requests_total";
    // A registry in use has more than one metric.
    (0..50).for_each(|n| metrics.counter(&format!("other_{n}_total")).with(&LABELS).increment(1));
    bench.single("by_name_0", || metrics.counter(black_box(name)).increment(1));
    bench.single("by_name_1", || metrics.counter(black_box(name)).with(black_box(&LABELS[..1])).increment(1));
    let routes: Vec<String> = (0..10_000).map(|n| format!("/route/{n}")).collect();
    let names: Vec<String> = (0..10).map(|n| format!("crowded_{n}_total")).collect();
    let mut next = 0;
    bench.single("by_name_1_of_10000", || {
        next = (next + 1) % routes.len();
        metrics.counter(&names[next % 10]).with(&[("route", &routes[next])]).increment(1);
    });
    bench.single("by_name_3", || metrics.counter(black_box(name)).with(black_box(&LABELS)).increment(1));
    bench.threaded("by_name_3_4", |_| {
        metrics.counter(black_box(name)).with(black_box(&LABELS)).increment(1);
    });
    let peer = PeerFamily::<PeerLabels, PeerCounter>::default();
    let increment = || {
        let labels = black_box(LABELS).map(|(k, v)| (k.to_owned(), v.to_owned()));
        peer.get_or_create(&labels.to_vec()).inc();
    };
    bench.single("peer_by_labels_3", increment);
    bench.threaded("peer_by_labels_3_4", |_| increment());
}

fn observations(bench: &mut Bench) {
    let metrics = Metrics::new();
    let one = metrics.histogram("h_seconds").with(&[("threads", "1")]);
    bench.single("histogram_1", || black_box(&one).record(black_box(0.04)));
    let four = metrics.histogram("h_seconds").with(&[("threads", "4")]);
    bench.threaded("histogram_4", |_| black_box(&four).record(black_box(0.04)));
    let summary = metrics.summary("s_seconds").with(&[]);
    bench.single("summary_1", || black_box(&summary).record(black_box(0.04)));
}

fn renders(bench: &mut Bench) {
    for (count, [ours, limit, peer]) in [
        (1_000, ["render_1000", "limit_render_1000", "peer_render_1000"]),
        (10_000, ["render_10000", "limit_render_10000", "peer_render_10000"]),
    ] {
        let metrics = Metrics::new();
        let mut registry = PeerRegistry::default();
        let mut prefixes = Vec::new();
        // Ten metrics share the series, as in a service.
        for metric in 0..10 {
            let name = format!("http_{metric}_requests");
            let family = PeerFamily::<PeerLabels, PeerCounter>::default();
            registry.register(&name, "Requests.", family.clone());
            for n in 0..count / 10 {
                let route = format!("/api/{n}");
                let labels = [("method", "GET"), ("route", &*route), ("status", "200")];
                let value = 1_000 + n * 7;
                metrics.counter(&format!("{name}_total")).with(&labels).increment(value);
                let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned()));
                family.get_or_create(&labels.to_vec()).inc_by(value);
                prefixes.push((
                    format!("{name}_total{{method=\"GET\",route=\"{route}\",status=\"200\"}} "),
                    AtomicU64::new(value),
                ));
            }
        }
        bench.single(ours, || {
            black_box(metrics.render(Format::Prometheus));
        });
        let mut length = 0;
        bench.single(limit, || {
            let mut out = String::with_capacity(length);
            for (prefix, value) in &prefixes {
                out.push_str(prefix);
                out.push_str(itoa::Buffer::new().format(value.load(Relaxed)));
                out.push('\n');
            }
            length = black_box(out).len();
        });
        bench.single(peer, || {
            let mut out = String::new();
            encode(&mut out, &registry).expect("writing to a string does not fail");
            black_box(out);
        });
    }
}
