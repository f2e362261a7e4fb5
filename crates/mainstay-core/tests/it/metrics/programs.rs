//! The process, the runtime, and the judgement of Prometheus' own tool.

use mainstay_core::metrics::{Format, Metrics, Options, process, runtime};
use mainstay_testkit::promtool;

use super::exposition::rich_registry;
use super::{sample, samples};

#[tokio::test]
async fn promtool_accepts_a_rich_registry_without_a_complaint() {
    let metrics = rich_registry();
    process::install(&metrics);
    runtime::install(&metrics, tokio::runtime::Handle::current());
    for n in 0..2_010 {
        metrics
            .counter("crowded_total")
            .with(&[("n", &n.to_string()), ("odd", "\u{0}\r\t{}=,#\u{202e}")])
            .increment(1);
    }
    metrics.describe_counter("crowded_total", mainstay_core::metrics::Unit::None, "Too many label sets.");
    metrics.counter("not a name").increment(1);
    let text = metrics.render(Format::Prometheus);
    assert!(text.contains("mainstay_metrics_series_dropped_total{metric=\"crowded_total\"} 10\n"));
    assert!(text.contains("mainstay_metrics_rejected_total{reason=\"invalid_name\"} 1\n"));
    assert_eq!(promtool(&text), Ok(()));
}

#[test]
fn promtool_would_complain_of_a_broken_text() {
    assert!(promtool("# TYPE a counter\na{b=\"unclosed} 1\n").is_err());
}

#[test]
fn process_metrics_are_those_of_this_process() {
    let metrics = Metrics::new();
    process::install(&metrics);
    let read = |name: &str| sample(&metrics, name).unwrap().parse::<f64>().unwrap();

    assert!(read("process_resident_memory_bytes") > 100_000.0);
    assert!(read("process_virtual_memory_bytes") >= read("process_resident_memory_bytes"));
    assert!(read("process_cpu_seconds_total") >= 0.0);
    assert!(read("process_threads") >= 1.0);
    let age = jiff::Timestamp::now().as_second() as f64 - read("process_start_time_seconds");
    assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");

    let before = read("process_open_fds");
    let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    // Other tests of this process open and close files, too.
    assert!(read("process_open_fds") > before + 10.0);
    assert!(read("process_max_fds") >= read("process_open_fds"));
    drop(files);
}

#[test]
fn runtime_metrics_follow_the_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let metrics = Metrics::new();
    runtime::install(&metrics, runtime.handle().clone());
    assert_eq!(sample(&metrics, "tokio_workers").as_deref(), Some("3"));
    let tasks: Vec<_> = (0..5).map(|_| runtime.spawn(std::future::pending::<()>())).collect();
    assert_eq!(sample(&metrics, "tokio_alive_tasks").as_deref(), Some("5"));
    assert_eq!(
        samples(&metrics).iter().filter(|line| line.starts_with("tokio_worker_parks_total{")).count(),
        3
    );
    drop((tasks, runtime));
    // A runtime that is gone must not break a render.
    assert_eq!(sample(&metrics, "tokio_alive_tasks").as_deref(), Some("0"));
}

#[test]
fn two_registries_know_nothing_of_each_other() {
    let (a, b) = (Metrics::new(), Metrics::with_options(Options::default()));
    a.counter("c_total").increment(1);
    b.gauge("c_total").set(5.0);
    assert_eq!(samples(&a), ["c_total 1"]);
    assert_eq!(samples(&b), ["c_total 5"]);
}
