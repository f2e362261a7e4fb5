//! What a user holds: a family by name, or the handle of one series.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::family::Kind;
use super::registry::Registry;
use super::series::{Series, Value, level, total};

/// A metric by name, not yet narrowed to one series. Nothing is looked up before it is used.
///
/// `with` gives the handle of the series with these labels, to be kept for a hot path. Labels may come
/// in any order; of two with the same name the last counts, and an empty value is no label. It never
/// fails: with an invalid name or label, or a name that is in use for another kind, the handle counts
/// nowhere; beyond the cap it is that of the overflow series. The other methods update the series
/// without labels.
pub struct Family<'a, H> {
    registry: &'a Registry,
    kind: Kind,
    name: &'a str,
    handle: PhantomData<fn() -> H>,
}

impl<H> std::fmt::Debug for Family<'_, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Family").field(&self.name).finish()
    }
}

impl<'a, H> Family<'a, H> {
    pub(super) fn new(registry: &'a Registry, kind: Kind, name: &'a str) -> Self {
        Self { registry, kind, name, handle: PhantomData }
    }

    #[inline]
    fn target(&self, labels: &[(&str, &str)]) -> Target {
        self.registry.with_series(self.kind, self.name, labels, Arc::clone)
    }

    #[inline]
    fn unlabelled(&self, update: impl FnOnce(&Arc<Series>)) {
        self.registry.with_series(self.kind, self.name, &[], update);
    }
}

impl Family<'_, Counter> {
    /// The counter with these labels.
    #[must_use]
    #[inline]
    pub fn with(&self, labels: &[(&str, &str)]) -> Counter {
        Counter(self.target(labels))
    }

    /// Adds `by` to the counter without labels.
    #[inline]
    pub fn increment(&self, by: u64) {
        self.unlabelled(|series| series.increment(by));
    }
}

impl Family<'_, Gauge> {
    /// The gauge with these labels.
    #[must_use]
    #[inline]
    pub fn with(&self, labels: &[(&str, &str)]) -> Gauge {
        Gauge(self.target(labels))
    }

    /// Sets the gauge without labels.
    #[inline]
    pub fn set(&self, value: f64) {
        self.unlabelled(|series| series.set(value));
    }

    /// Adds to the gauge without labels.
    #[inline]
    pub fn add(&self, delta: f64) {
        self.unlabelled(|series| series.add(delta));
    }

    /// Subtracts from the gauge without labels.
    #[inline]
    pub fn sub(&self, delta: f64) {
        self.add(-delta);
    }
}

impl Family<'_, Histogram> {
    /// The histogram with these labels.
    #[must_use]
    #[inline]
    pub fn with(&self, labels: &[(&str, &str)]) -> Histogram {
        Histogram(self.target(labels))
    }

    /// Records in the histogram without labels.
    #[inline]
    pub fn record(&self, value: f64) {
        self.unlabelled(|series| series.record(value));
    }

    /// Records a time, in seconds.
    #[inline]
    pub fn record_duration(&self, time: Duration) {
        self.record(time.as_secs_f64());
    }
}

impl Family<'_, Summary> {
    /// The summary with these labels.
    #[must_use]
    #[inline]
    pub fn with(&self, labels: &[(&str, &str)]) -> Summary {
        Summary(self.target(labels))
    }

    /// Records in the summary without labels.
    #[inline]
    pub fn record(&self, value: f64) {
        self.unlabelled(|series| series.record(value));
    }

    /// Records a time, in seconds.
    #[inline]
    pub fn record_duration(&self, time: Duration) {
        self.record(time.as_secs_f64());
    }
}

/// A series, if there is one to count in.
type Target = Option<Arc<Series>>;

/// Counts events. Cheap to clone; clones count in the same series. The default one counts nowhere.
#[derive(Debug, Clone, Default)]
pub struct Counter(Target);

/// A value that goes up and down. Cheap to clone; clones share it. The default one goes nowhere.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Target);

/// Counts observations in buckets. Cheap to clone; the default one counts nowhere.
#[derive(Debug, Clone, Default)]
pub struct Histogram(Target);

/// Shows the quantiles 0.5, 0.9 and 0.99 of the observations in
/// [`Options::summary_window`](super::Options::summary_window), `NaN` while there are none; count and
/// sum are since the start. Cheap to clone; the default one counts nowhere.
///
/// A quantile is within 0.8 % (1/128) of the nearest-rank quantile of the last 5/6 to 6/6 of the
/// window. The sketch counts in 64 buckets per power of two, six time slices of at most 8 KiB each; if
/// the values of a slice span more than a factor of 65,536, the lowest ones are taken for larger.
#[derive(Debug, Clone, Default)]
pub struct Summary(Target);

impl Counter {
    /// Adds `by`. One atomic operation, also when many threads count.
    #[inline]
    pub fn increment(&self, by: u64) {
        if let Some(series) = &self.0 {
            series.increment(by);
        }
    }

    /// The total so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        match self.0.as_deref().map(Series::value) {
            Some(Value::Counter(counter)) => total(counter),
            _ => 0,
        }
    }
}

impl Gauge {
    /// Sets the value.
    #[inline]
    pub fn set(&self, value: f64) {
        if let Some(series) = &self.0 {
            series.set(value);
        }
    }

    /// Adds to the value.
    #[inline]
    pub fn add(&self, delta: f64) {
        if let Some(series) = &self.0 {
            series.add(delta);
        }
    }

    /// Subtracts from the value.
    #[inline]
    pub fn sub(&self, delta: f64) {
        self.add(-delta);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> f64 {
        match self.0.as_deref().map(Series::value) {
            Some(Value::Gauge(gauge)) => level(gauge),
            _ => 0.0,
        }
    }
}

impl Histogram {
    /// Records an observation; what is not finite is refused and counted in
    /// `mainstay_metrics_rejected_total`.
    #[inline]
    pub fn record(&self, value: f64) {
        if let Some(series) = &self.0 {
            series.record(value);
        }
    }

    /// Records a time, in seconds.
    #[inline]
    pub fn record_duration(&self, time: Duration) {
        self.record(time.as_secs_f64());
    }
}

impl Summary {
    /// Records an observation; what is not finite is refused and counted in
    /// `mainstay_metrics_rejected_total`.
    #[inline]
    pub fn record(&self, value: f64) {
        if let Some(series) = &self.0 {
            series.record(value);
        }
    }

    /// Records a time, in seconds.
    #[inline]
    pub fn record_duration(&self, time: Duration) {
        self.record(time.as_secs_f64());
    }
}
