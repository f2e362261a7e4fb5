//! Promises of `metrics`.

mod exposition;
mod limits;
mod model;
mod negotiation;
mod programs;
mod updates;

use mainstay_core::metrics::{Format, Metrics};

/// The sample lines of the Prometheus text, without comments.
fn samples(metrics: &Metrics) -> Vec<String> {
    let text = metrics.render(Format::Prometheus);
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// The value of one sample line, named with its labels as printed.
fn sample(metrics: &Metrics, series: &str) -> Option<String> {
    let prefix = format!("{series} ");
    samples(metrics).iter().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
}
