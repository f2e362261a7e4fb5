//! Metrics: counters, gauges, histograms and summaries that cost nanoseconds on the hot path and
//! are read as Prometheus text, OpenMetrics or JSON.
//!
//! # Promise
//! - An update is never lost: not under contention, not when its series is idle and expires at the
//!   same moment. A kept handle that is used again after expiry brings its series back.
//! - Bad input never panics and never breaks the exposition: an invalid name, an invalid label or a
//!   name that is already in use for another kind yields a handle that counts nowhere, is logged
//!   once and counted (below). Label values are escaped and cut to [`MAX_LABEL_VALUE`] bytes.
//! - Memory is bounded: once a metric has `max_series_per_metric` series, further label sets share
//!   one series labelled `overflow="true"`.
//!   A quiet counter or gauge takes about 200 bytes and twice its labels; one that threads fight for
//!   grows by 128 bytes for each of twice as many stripes as cores; a summary takes at most 48 KiB.
//! - Updating allocates nothing once the series exists. Text and JSON show the same series, sorted
//!   by metric name, then by labels.
//! - Nothing is global: two registries in one process know nothing of each other.
//!
//! # Not promised
//! - A render is not a snapshot of one instant: series are read one after the other. Within one
//!   histogram the count always equals the sum of its buckets; its sum may lag by the observations
//!   in flight.
//! - The `overflow` series says how much went there, not which label sets.
//! - Quantiles of a [`Summary`] cannot be added up over instances; use a [`Histogram`] for that.
//! - The number of metric names is not capped: a name belongs in the code and is never made from
//!   input. What varies is a label.
//! - A counter restarts at zero with the process, and after its series expired while nobody held a
//!   handle.
//!
//! # Defaults
//! 2,000 series per metric, no expiry, summaries over 60 seconds: see [`Options`]. Histograms without
//! a description use [`DEFAULT_BUCKETS`].
//!
//! # Metrics
//! - `mainstay_metrics_series_dropped_total{metric}`: label sets sent to the overflow series, counted
//!   each time a handle is asked for.
//! - `mainstay_metrics_rejected_total{reason}`: requests that went nowhere, by `invalid_name`,
//!   `invalid_label`, `name_clash`, `not_finite`.

mod collect;
mod family;
mod format;
mod handle;
mod histogram;
mod json;
mod key;
mod number;
pub mod process;
mod registry;
pub mod runtime;
mod series;
mod striped;
mod summary;
mod text;

use std::sync::Arc;
use std::time::Duration;

pub use collect::Sink;
pub use format::Format;
pub use handle::{Counter, Family, Gauge, Histogram, Summary};
pub use histogram::DEFAULT_BUCKETS;
pub use key::MAX_LABEL_VALUE;

pub(crate) use striped::this_thread;

use family::Kind;
use registry::Registry;

/// What a metric measures. Names should end with it: `…_seconds`, `…_bytes`, `…_ratio`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Unit {
    /// A plain number.
    #[default]
    None,
    /// Time; never milliseconds.
    Seconds,
    /// Sizes; never kibibytes.
    Bytes,
    /// A share from 0 to 1; never per cent.
    Ratio,
}

impl Unit {
    /// The word in `# UNIT` and in JSON; `None` has none.
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Seconds => Some("seconds"),
            Self::Bytes => Some("bytes"),
            Self::Ratio => Some("ratio"),
        }
    }
}

/// Limits of one registry. Write `Options { idle_after: …, ..Options::default() }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Series one metric may have before further label sets share its overflow series.
    pub max_series_per_metric: usize,
    /// After this time without an update [`Metrics::upkeep`] takes a labelled series out.
    /// `None`: series stay. A series without labels always stays: it cannot multiply.
    pub idle_after: Option<Duration>,
    /// How far back the quantiles of a [`Summary`] look; at least 6 ms.
    pub summary_window: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_series_per_metric: 2_000, idle_after: None, summary_window: Duration::from_secs(60) }
    }
}

/// One registry of metrics; clones share it.
///
/// ```
/// use mainstay_core::metrics::{Format, Metrics, Unit};
///
/// let metrics = Metrics::new();
/// metrics.describe_counter("http_requests_total", Unit::None, "Requests answered.");
/// metrics.counter("http_requests_total").with(&[("method", "GET")]).increment(1);
///
/// let kept = metrics.gauge("connections").with(&[]); // on a hot path, keep the handle
/// kept.add(1.0);
///
/// let text = metrics.render(Format::Prometheus);
/// assert!(text.contains("# HELP http_requests_total Requests answered.\n"));
/// assert!(text.contains("http_requests_total{method=\"GET\"} 1\n"));
/// assert!(text.contains("connections 1\n"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    registry: Arc<Registry>,
}

impl Metrics {
    /// An empty registry with the default [`Options`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty registry with these limits.
    #[must_use]
    pub fn with_options(options: Options) -> Self {
        Self { registry: Arc::new(Registry::new(options)) }
    }

    /// The counter of this name: a number of events, which only grows. Name it `…_total`; OpenMetrics
    /// adds the suffix to a name that lacks it.
    #[must_use]
    pub fn counter<'a>(&'a self, name: &'a str) -> Family<'a, Counter> {
        Family::new(&self.registry, Kind::Counter, name)
    }

    /// The gauge of this name: a value that goes up and down.
    #[must_use]
    pub fn gauge<'a>(&'a self, name: &'a str) -> Family<'a, Gauge> {
        Family::new(&self.registry, Kind::Gauge, name)
    }

    /// The histogram of this name: observations counted in buckets.
    #[must_use]
    pub fn histogram<'a>(&'a self, name: &'a str) -> Family<'a, Histogram> {
        Family::new(&self.registry, Kind::Histogram, name)
    }

    /// The summary of this name: quantiles of recent observations.
    #[must_use]
    pub fn summary<'a>(&'a self, name: &'a str) -> Family<'a, Summary> {
        Family::new(&self.registry, Kind::Summary, name)
    }

    /// Sets unit and help of a counter; the latest description stands.
    pub fn describe_counter(&self, name: &str, unit: Unit, help: &str) {
        self.registry.describe(Kind::Counter, name, unit, help, None);
    }

    /// Sets unit and help of a gauge; the latest description stands.
    pub fn describe_gauge(&self, name: &str, unit: Unit, help: &str) {
        self.registry.describe(Kind::Gauge, name, unit, help, None);
    }

    /// Sets unit, help and the upper bounds of a histogram's buckets. Bounds are sorted; what is not
    /// finite is left out (`+Inf` is always there); an empty list means [`DEFAULT_BUCKETS`].
    ///
    /// Describe before the first use: the buckets of a histogram that has series stay as they are.
    pub fn describe_histogram(&self, name: &str, unit: Unit, help: &str, buckets: &[f64]) {
        self.registry.describe(Kind::Histogram, name, unit, help, Some(buckets));
    }

    /// Sets unit and help of a summary; the latest description stands.
    pub fn describe_summary(&self, name: &str, unit: Unit, help: &str) {
        self.registry.describe(Kind::Summary, name, unit, help, None);
    }

    /// Adds a collector: it runs at every render, for as long as the registry lives, and emits
    /// samples of a source that keeps its own numbers.
    ///
    /// It runs on the rendering thread, so it must not block. A panic in it costs the rest of
    /// its samples and is logged.
    pub fn collect(&self, collector: impl Fn(&mut Sink<'_>) + Send + Sync + 'static) {
        self.registry.add_collector(Arc::new(collector));
    }

    /// All series as text; the HTTP `Content-Type` is [`Format::content_type`].
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        text::render(&self.registry, format)
    }

    /// The same series as JSON: an array of `{name, type, help, unit, samples}`, in the order of the
    /// text. A sample is `{labels, value}`, of a histogram `{labels, count, sum, buckets: [{le,
    /// count}]}` (cumulative), of a summary `{labels, count, sum, quantiles: [{quantile, value}]}`.
    /// JSON has no NaN or infinity: they are the strings `"NaN"`, `"+Inf"`, `"-Inf"`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json::render(&self.registry)
    }

    /// Takes out labelled series that were idle for [`Options::idle_after`], judged from one call to
    /// the next. The owner calls it every `METRICS_COLLECT_INTERVAL`; it costs some nanoseconds per
    /// series.
    pub fn upkeep(&self) {
        self.registry.upkeep();
    }
}
