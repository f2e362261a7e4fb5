//! Bad input, the cap on series, expiry.

use std::time::Duration;

use mainstay_core::metrics::{Counter, MAX_LABEL_VALUE, Metrics, Options};

use super::{sample, samples};

const REJECTED: &str = "mainstay_metrics_rejected_total";

#[test]
fn invalid_names_and_labels_count_nowhere_and_are_counted() {
    let metrics = Metrics::new();
    for name in ["", "9lives", "a-b", "ä"] {
        metrics.counter(name).increment(1);
        metrics.gauge(name).with(&[("k", "v")]).set(1.0);
    }
    metrics.counter("ok_total").with(&[("a:b", "v")]).increment(1);
    metrics.counter("ok_total").with(&[("__name__", "v")]).increment(1);
    metrics.histogram("h").with(&[("le", "1")]).record(1.0);
    metrics.summary("s").with(&[("quantile", "1")]).record(1.0);
    assert_eq!(
        samples(&metrics),
        [
            format!("{REJECTED}{{reason=\"invalid_label\"}} 4"),
            format!("{REJECTED}{{reason=\"invalid_name\"}} 8")
        ]
    );
}

#[test]
fn a_name_in_use_for_another_kind_counts_nowhere() {
    let metrics = Metrics::new();
    metrics.counter("jobs_total").increment(1);
    metrics.gauge("jobs_total").set(7.0);
    metrics.gauge("jobs").set(7.0); // in OpenMetrics the counter's family is called so
    metrics.counter("jobs").increment(7);
    metrics.histogram("time").record(1.0);
    metrics.counter("time_count").increment(7);
    metrics.collect(|sink| sink.gauge("jobs_total", &[], 7.0));
    let lines = samples(&metrics);
    assert!(lines.contains(&"jobs_total 1".to_owned()), "{lines:?}");
    assert!(lines.contains(&format!("{REJECTED}{{reason=\"name_clash\"}} 5")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.ends_with(" 7")), "{lines:?}");
}

#[test]
fn what_is_not_finite_is_not_observed() {
    let metrics = Metrics::new();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        metrics.histogram("h").record(value);
        metrics.summary("s").record(value);
    }
    metrics.histogram("h").record(2.0);
    assert_eq!(sample(&metrics, "h_sum").as_deref(), Some("2"));
    assert_eq!(sample(&metrics, "s_count").as_deref(), Some("0"));
    assert_eq!(sample(&metrics, &format!("{REJECTED}{{reason=\"not_finite\"}}")).as_deref(), Some("6"));
}

#[test]
fn long_label_values_are_cut_and_share_a_series() {
    let metrics = Metrics::new();
    let long = "ü".repeat(MAX_LABEL_VALUE);
    metrics.counter("c_total").with(&[("k", &long)]).increment(1);
    metrics.counter("c_total").with(&[("k", &format!("{long}!"))]).increment(1);
    let cut = "ü".repeat(MAX_LABEL_VALUE / 2);
    assert_eq!(samples(&metrics), [format!("c_total{{k=\"{cut}\"}} 2")]);
}

#[test]
fn beyond_the_cap_label_sets_share_the_overflow_series_and_no_update_is_lost() {
    let metrics = Metrics::with_options(Options { max_series_per_metric: 10, ..Options::default() });
    for _ in 0..2 {
        for n in 0..100 {
            metrics.counter("c_total").with(&[("n", &n.to_string())]).increment(1);
        }
    }
    metrics.counter("other_total").with(&[("n", "new")]).increment(1);
    let lines = samples(&metrics);
    assert_eq!(lines.iter().filter(|line| line.starts_with("c_total{n=")).count(), 10);
    assert_eq!(sample(&metrics, r#"c_total{overflow="true"}"#).as_deref(), Some("180"));
    assert_eq!(sample(&metrics, r#"c_total{n="9"}"#).as_deref(), Some("2"));
    assert_eq!(sample(&metrics, r#"other_total{n="new"}"#).as_deref(), Some("1"));
    let dropped = r#"mainstay_metrics_series_dropped_total{metric="c_total"}"#;
    assert_eq!(sample(&metrics, dropped).as_deref(), Some("180"));
}

#[test]
fn the_default_cap_is_2000_series() {
    let metrics = Metrics::new();
    for n in 0..2_005 {
        metrics.gauge("g").with(&[("n", &n.to_string())]).set(1.0);
    }
    assert_eq!(samples(&metrics).iter().filter(|line| line.starts_with("g{")).count(), 2_001);
}

#[test]
fn collected_samples_are_capped_as_well() {
    let metrics = Metrics::with_options(Options { max_series_per_metric: 3, ..Options::default() });
    metrics.collect(|sink| {
        (0..9).for_each(|n| sink.gauge("g", &[("n", &n.to_string())], 1.0));
    });
    let lines = samples(&metrics);
    assert_eq!(lines.iter().filter(|line| line.starts_with("g{")).count(), 3);
    assert!(
        lines.contains(&r#"mainstay_metrics_series_dropped_total{metric="g"} 6"#.to_owned()),
        "{lines:?}"
    );
}

#[test]
fn a_handle_outlives_its_registry_and_the_default_one_counts_nowhere() {
    let kept = Metrics::new().counter("c_total").with(&[]);
    kept.increment(1);
    assert_eq!(kept.get(), 1);
    Counter::default().increment(1);
    assert_eq!(Counter::default().get(), 0);
}

const MINUTE: Duration = Duration::from_secs(60);

fn expiring() -> Metrics {
    Metrics::with_options(Options { idle_after: Some(2 * MINUTE), ..Options::default() })
}

/// `upkeep` once a minute for `minutes`.
async fn idle(metrics: &Metrics, minutes: u32) {
    for _ in 0..minutes {
        tokio::time::advance(MINUTE).await;
        metrics.upkeep();
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_series_expires_and_a_busy_one_stays() {
    let metrics = expiring();
    metrics.counter("c_total").with(&[("k", "idle")]).increment(1);
    metrics.counter("c_total").increment(1); // without labels: never expires
    let busy = metrics.gauge("g").with(&[("k", "busy")]);
    for _ in 0..5 {
        busy.set(1.0); // the same value is an update, too
        idle(&metrics, 1).await;
    }
    assert_eq!(samples(&metrics), ["c_total 1", r#"g{k="busy"} 1"#]);
}

#[tokio::test(start_paused = true)]
async fn without_the_option_nothing_expires() {
    let metrics = Metrics::new();
    metrics.counter("c_total").with(&[("k", "v")]).increment(1);
    idle(&metrics, 1_000).await;
    assert_eq!(samples(&metrics), [r#"c_total{k="v"} 1"#]);
}

#[tokio::test(start_paused = true)]
async fn a_kept_handle_brings_its_series_back_with_its_value() {
    let metrics = expiring();
    let counter = metrics.counter("c_total").with(&[("k", "v")]);
    let histogram = metrics.histogram("h").with(&[("k", "v")]);
    counter.increment(5);
    histogram.record(1.0);
    for _ in 0..3 {
        idle(&metrics, 4).await;
        assert_eq!(samples(&metrics), [""; 0]);
        counter.increment(1);
        histogram.record(1.0);
        assert!(sample(&metrics, r#"c_total{k="v"}"#).is_some());
    }
    assert_eq!(sample(&metrics, r#"c_total{k="v"}"#).as_deref(), Some("8"));
    assert_eq!(sample(&metrics, r#"h_count{k="v"}"#).as_deref(), Some("4"));
}

#[tokio::test(start_paused = true)]
async fn by_name_and_by_kept_handle_it_is_one_series_after_expiry() {
    let metrics = expiring();
    let kept = metrics.counter("c_total").with(&[("k", "v")]);
    kept.increment(1);
    idle(&metrics, 4).await;
    metrics.counter("c_total").with(&[("k", "v")]).increment(1);
    kept.increment(1);
    assert_eq!(samples(&metrics), [r#"c_total{k="v"} 3"#]);
}

#[tokio::test(start_paused = true)]
async fn expired_series_make_room_under_the_cap() {
    let metrics = Metrics::with_options(Options {
        max_series_per_metric: 2,
        idle_after: Some(2 * MINUTE),
        ..Options::default()
    });
    for round in 0..5 {
        for n in 0..2 {
            metrics.counter("c_total").with(&[("n", &format!("{round}.{n}"))]).increment(1);
        }
        idle(&metrics, 4).await;
    }
    metrics.counter("c_total").with(&[("n", "last")]).increment(1);
    assert_eq!(samples(&metrics), [r#"c_total{n="last"} 1"#]);
}
