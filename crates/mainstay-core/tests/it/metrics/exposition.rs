//! What a scraper reads.

use mainstay_core::metrics::{Format, Metrics, Unit};
use serde_json::{Value, json};

use super::samples;

/// One metric of each kind, odd labels, odd numbers.
pub(super) fn rich_registry() -> Metrics {
    let metrics = Metrics::new();
    metrics.describe_counter("http_requests_total", Unit::None, "Requests \"answered\",\nback\\slash.");
    metrics.counter("http_requests_total").with(&[("method", "GET"), ("status", "200")]).increment(3);
    metrics.counter("http_requests_total").with(&[("method", "a\\b\"c\nd"), ("status", "ü☃")]).increment(1);
    metrics.describe_counter("egress_bytes_total", Unit::Bytes, "Bytes sent.");
    metrics.counter("egress_bytes_total").increment(u64::MAX);
    metrics.describe_gauge("queue_fill_ratio", Unit::Ratio, "How full the queue is.");
    metrics.gauge("queue_fill_ratio").with(&[("queue", "a")]).set(0.25);
    metrics.gauge("queue_fill_ratio").with(&[("queue", "b")]).set(f64::NAN);
    metrics.gauge("queue_fill_ratio").with(&[("queue", "c")]).set(f64::INFINITY);
    metrics.gauge("queue_fill_ratio").with(&[("queue", "d")]).set(f64::NEG_INFINITY);
    metrics.describe_histogram("call_seconds", Unit::Seconds, "Time of a call.", &[1.0, 0.1]);
    let calls = metrics.histogram("call_seconds").with(&[("peer", "db")]);
    [0.05, 0.1, 0.5, 7.0].into_iter().for_each(|time| calls.record(time));
    metrics.describe_summary("reply_bytes", Unit::Bytes, "Size of a reply.");
    metrics.summary("reply_bytes").record(1024.0);
    metrics.describe_gauge("pool_connections", Unit::None, "Open connections.");
    metrics.collect(|sink| sink.gauge("pool_connections", &[("pool", "main")], 7.0));
    metrics
}

const PROMETHEUS: &str = r#"# HELP call_seconds Time of a call.
# TYPE call_seconds histogram
call_seconds_bucket{peer="db",le="0.1"} 2
call_seconds_bucket{peer="db",le="1.0"} 3
call_seconds_bucket{peer="db",le="+Inf"} 4
call_seconds_sum{peer="db"} 7.65
call_seconds_count{peer="db"} 4
# HELP egress_bytes_total Bytes sent.
# TYPE egress_bytes_total counter
egress_bytes_total 18446744073709551615
# HELP http_requests_total Requests "answered",\nback\\slash.
# TYPE http_requests_total counter
http_requests_total{method="GET",status="200"} 3
http_requests_total{method="a\\b\"c\nd",status="ü☃"} 1
# HELP pool_connections Open connections.
# TYPE pool_connections gauge
pool_connections{pool="main"} 7
# HELP queue_fill_ratio How full the queue is.
# TYPE queue_fill_ratio gauge
queue_fill_ratio{queue="a"} 0.25
queue_fill_ratio{queue="b"} NaN
queue_fill_ratio{queue="c"} +Inf
queue_fill_ratio{queue="d"} -Inf
# HELP reply_bytes Size of a reply.
# TYPE reply_bytes summary
reply_bytes{quantile="0.5"} 1032
reply_bytes{quantile="0.9"} 1032
reply_bytes{quantile="0.99"} 1032
reply_bytes_sum 1024
reply_bytes_count 1
"#;

const OPEN_METRICS: &str = r#"# HELP call_seconds Time of a call.
# TYPE call_seconds histogram
# UNIT call_seconds seconds
call_seconds_bucket{peer="db",le="0.1"} 2
call_seconds_bucket{peer="db",le="1.0"} 3
call_seconds_bucket{peer="db",le="+Inf"} 4
call_seconds_sum{peer="db"} 7.65
call_seconds_count{peer="db"} 4
# HELP egress_bytes Bytes sent.
# TYPE egress_bytes counter
# UNIT egress_bytes bytes
egress_bytes_total 18446744073709551615
# HELP http_requests Requests \"answered\",\nback\\slash.
# TYPE http_requests counter
http_requests_total{method="GET",status="200"} 3
http_requests_total{method="a\\b\"c\nd",status="ü☃"} 1
# HELP pool_connections Open connections.
# TYPE pool_connections gauge
pool_connections{pool="main"} 7
# HELP queue_fill_ratio How full the queue is.
# TYPE queue_fill_ratio gauge
# UNIT queue_fill_ratio ratio
queue_fill_ratio{queue="a"} 0.25
queue_fill_ratio{queue="b"} NaN
queue_fill_ratio{queue="c"} +Inf
queue_fill_ratio{queue="d"} -Inf
# HELP reply_bytes Size of a reply.
# TYPE reply_bytes summary
# UNIT reply_bytes bytes
reply_bytes{quantile="0.5"} 1032
reply_bytes{quantile="0.9"} 1032
reply_bytes{quantile="0.99"} 1032
reply_bytes_sum 1024
reply_bytes_count 1
# EOF
"#;

#[test]
fn the_prometheus_text_is_escaped_sorted_and_complete() {
    assert_eq!(rich_registry().render(Format::Prometheus), PROMETHEUS);
}

#[test]
fn open_metrics_names_units_and_ends_with_eof() {
    assert_eq!(rich_registry().render(Format::OpenMetrics), OPEN_METRICS);
}

#[test]
fn a_counter_without_the_suffix_keeps_its_name_and_gets_it_in_open_metrics() {
    let metrics = Metrics::new();
    metrics.counter("sent").increment(2);
    let prometheus = "# HELP sent Not described.\n# TYPE sent counter\nsent 2\n";
    assert_eq!(metrics.render(Format::Prometheus), prometheus);
    let open = "# HELP sent Not described.\n# TYPE sent counter\nsent_total 2\n# EOF\n";
    assert_eq!(metrics.render(Format::OpenMetrics), open);
}

#[test]
fn a_unit_is_named_only_where_the_name_ends_with_it() {
    let metrics = Metrics::new();
    for name in ["size", "kilobytes", "size_bytes"] {
        metrics.describe_gauge(name, Unit::Bytes, "Size.");
        metrics.gauge(name).set(1.0);
    }
    let text = metrics.render(Format::OpenMetrics);
    let units: Vec<_> = text.lines().filter(|line| line.starts_with("# UNIT")).collect();
    assert_eq!(units, ["# UNIT size_bytes bytes"]);
}

#[test]
fn a_described_metric_without_samples_is_not_shown() {
    let metrics = Metrics::new();
    metrics.describe_counter("later_total", Unit::None, "Later.");
    assert_eq!(metrics.render(Format::Prometheus), "");
    assert_eq!(metrics.render(Format::OpenMetrics), "# EOF\n");
    assert_eq!(metrics.to_json(), json!([]));
}

#[test]
fn json_holds_the_series_of_the_text_in_its_order() {
    let metrics = rich_registry();
    assert_eq!(lines_of(&metrics.to_json()), samples(&metrics));
    assert_eq!(
        metrics.to_json()[0],
        json!({
            "name": "call_seconds", "type": "histogram", "help": "Time of a call.", "unit": "seconds",
            "samples": [{
                "labels": {"peer": "db"}, "count": 4, "sum": 7.65,
                "buckets": [{"le": "0.1", "count": 2}, {"le": "1.0", "count": 3}, {"le": "+Inf", "count": 4}],
            }],
        })
    );
}

/// Writes the JSON as the text would, by another way than the library's.
fn lines_of(metrics: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for metric in metrics.as_array().unwrap() {
        let name = metric["name"].as_str().unwrap();
        for sample in metric["samples"].as_array().unwrap() {
            let mut line = |suffix: &str, own: Option<(&str, &Value)>, value: &Value| {
                let given = sample["labels"].as_object().unwrap().iter().map(|(k, v)| (k.as_str(), v));
                let labels: Vec<_> = given
                    .chain(own)
                    .map(|(label, value)| {
                        let value = value.as_str().unwrap();
                        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                        format!("{label}=\"{value}\"")
                    })
                    .collect();
                let labels =
                    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                let value = match value {
                    Value::String(text) => text.clone(),
                    number => number.to_string().trim_end_matches(".0").to_owned(),
                };
                lines.push(format!("{name}{suffix}{labels} {value}"));
            };
            if let Some(value) = sample.get("value") {
                line("", None, value);
                continue;
            }
            for bucket in sample.get("buckets").into_iter().flat_map(|b| b.as_array().unwrap()) {
                line("_bucket", Some(("le", &bucket["le"])), &bucket["count"]);
            }
            for entry in sample.get("quantiles").into_iter().flat_map(|q| q.as_array().unwrap()) {
                line("", Some(("quantile", &entry["quantile"])), &entry["value"]);
            }
            line("_sum", None, &sample["sum"]);
            line("_count", None, &sample["count"]);
        }
    }
    lines
}

#[test]
fn a_later_description_replaces_the_help_but_not_the_buckets_in_use() {
    let metrics = Metrics::new();
    metrics.describe_histogram("h", Unit::None, "First.", &[1.0]);
    metrics.histogram("h").record(0.5);
    metrics.describe_histogram("h", Unit::None, "Second.", &[2.0]);
    let text = metrics.render(Format::Prometheus);
    assert!(text.contains("# HELP h Second.\n"), "{text}");
    assert!(text.contains("le=\"1.0\"") && !text.contains("le=\"2.0\""), "{text}");
}

#[test]
fn collected_samples_stand_among_the_series_of_their_metric() {
    let metrics = Metrics::new();
    metrics.gauge("g").with(&[("k", "b")]).set(1.0);
    metrics.collect(|sink| {
        sink.gauge("g", &[("k", "c")], 2.5);
        sink.gauge("g", &[("k", "b")], 9.0);
        sink.gauge("g", &[("k", "a")], 8.0);
        sink.gauge("g", &[("k", "a")], 3.0);
        sink.counter("seconds_total", &[], 0.5);
    });
    assert_eq!(samples(&metrics), [r#"g{k="a"} 3"#, r#"g{k="b"} 1"#, r#"g{k="c"} 2.5"#, "seconds_total 0.5"]);
}

#[test]
fn a_collector_may_use_the_registry_and_a_panicking_one_does_not_blind_the_rest() {
    let metrics = Metrics::new();
    metrics.collect(|_| panic!("on purpose"));
    let inner = metrics.clone();
    metrics.collect(move |_| inner.counter("renders_total").increment(1));
    assert_eq!(samples(&metrics), ["renders_total 1"]);
    assert_eq!(samples(&metrics), ["renders_total 2"]);
}
