//! Samples of sources that keep their own numbers, and the walk over everything there is to show.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use super::family::{About, Family, Kind};
use super::histogram::Counts;
use super::key::{Key, Query};
use super::registry::Registry;
use super::series::{Value, level, total};
use super::summary::Window;

pub(super) type Collector = Arc<dyn Fn(&mut Sink<'_>) + Send + Sync>;

/// Takes the samples of a collector; see [`Metrics::collect`](super::Metrics::collect).
///
/// ```
/// use mainstay_core::metrics::{Format, Metrics, Unit};
///
/// let metrics = Metrics::new();
/// metrics.describe_gauge("pool_connections", Unit::None, "Open connections.");
/// metrics.collect(|sink| sink.gauge("pool_connections", &[("pool", "main")], 3.0));
/// assert!(metrics.render(Format::Prometheus).contains("pool_connections{pool=\"main\"} 3\n"));
/// ```
pub struct Sink<'a> {
    registry: &'a Registry,
    samples: Samples,
}

/// By metric, then by the text of the labels: key and value.
type Samples = BTreeMap<Box<str>, BTreeMap<Box<str>, (Key, f64)>>;

impl std::fmt::Debug for Sink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("metrics", &self.samples.len()).finish_non_exhaustive()
    }
}

impl Sink<'_> {
    /// A counter's sample, for a source that counts itself; it may have a fraction.
    pub fn counter(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.sample(Kind::Counter, name, labels, value);
    }

    /// A gauge's sample.
    pub fn gauge(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.sample(Kind::Gauge, name, labels, value);
    }

    /// Of two samples of the same labels the last counts; a series of the registry counts more.
    fn sample(&mut self, kind: Kind, name: &str, labels: &[(&str, &str)], value: f64) {
        let Some(family) = self.registry.family(kind, name) else { return };
        let query = Query::new(name, labels);
        if let Err(why) = family.check_labels(&query) {
            return self.registry.reject(why, name);
        }
        let samples = self.samples.entry(name.into()).or_default();
        let key = query.to_key();
        let rendered = key.render_labels().into_boxed_str();
        if samples.len() < family.options().max_series_per_metric || samples.contains_key(&rendered) {
            samples.insert(rendered, (key, value));
        } else {
            family.count_dropped();
        }
    }
}

/// The value of one series at the time of reading.
#[derive(Clone, Copy)]
pub(super) enum Reading<'a> {
    Count(u64),
    Number(f64),
    Histogram(&'a Counts),
    Summary(&'a Window),
}

impl<'a> Reading<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Counter(counter) => Self::Count(total(counter)),
            Value::Gauge(gauge) => Self::Number(level(gauge)),
            Value::Histogram(counts) => Self::Histogram(counts),
            Value::Summary(window) => Self::Summary(window),
        }
    }
}

/// Writes one format.
pub(super) trait Visitor {
    /// A metric begins; at least one sample follows.
    fn family(&mut self, family: &Family, about: &About);
    fn sample(&mut self, key: &Key, labels: &str, value: Reading<'_>);
}

/// Shows all series to `visitor`, by metric name, then by labels.
pub(super) fn visit(registry: &Registry, visitor: &mut impl Visitor) {
    let mut samples = collect(registry);
    for family in registry.families() {
        let mut samples = samples.remove(&family.name).unwrap_or_default().into_iter().peekable();
        let mut begun = false;
        let mut show = |key: &Key, labels: &str, value: Reading<'_>| {
            if !std::mem::replace(&mut begun, true) {
                visitor.family(&family, &family.about());
            }
            visitor.sample(key, labels, value);
        };
        family.each_series(|series| {
            while let Some((labels, (key, value))) = samples.next_if(|(labels, _)| **labels <= *series.labels)
            {
                if labels != series.labels {
                    show(&key, &labels, Reading::Number(value));
                }
            }
            show(&series.key, &series.labels, Reading::of(series.value()));
        });
        samples.for_each(|(labels, (key, value))| show(&key, &labels, Reading::Number(value)));
    }
}

fn collect(registry: &Registry) -> Samples {
    let mut sink = Sink { registry, samples: Samples::new() };
    for collector in registry.collectors() {
        if std::panic::catch_unwind(AssertUnwindSafe(|| collector(&mut sink))).is_err() {
            tracing::error!("a metrics collector panicked; the rest of its samples is missing");
        }
    }
    registry.own_samples(&mut sink);
    sink.samples
}
