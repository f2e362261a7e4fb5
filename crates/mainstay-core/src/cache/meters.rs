//! What a cache counts.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::metrics::{Counter, Histogram, Metrics, Unit};

use super::flight::Flights;
use super::{Error, Memory};

/// Handles kept for the hot path.
#[derive(Debug)]
pub(super) struct Meters {
    pub(super) hit: Counter,
    pub(super) negative: Counter,
    pub(super) stale: Counter,
    pub(super) miss: Counter,
    pub(super) unavailable: Counter,
    pub(super) fills_refused: Counter,
    pub(super) decode_failures: Counter,
    loads: [Counter; 6],
    load_seconds: Histogram,
}

/// How a load ended, in the order of [`Meters::loads`].
const LOAD_RESULTS: [&str; 6] = ["ok", "absent", "error", "panic", "timeout", "stopped"];

impl Meters {
    pub(super) fn new(metrics: &Metrics, flights: &Arc<Flights>) -> Self {
        describe(metrics);
        let flights = Arc::downgrade(flights);
        metrics.collect(move |sink| {
            let in_flight = flights.upgrade().map_or(0, |flights| flights.len());
            sink.gauge("cache_loads_in_flight", &[], in_flight as f64);
        });
        let requests = metrics.counter("cache_requests_total");
        let result = |result| requests.with(&[("result", result)]);
        let loads = metrics.counter("cache_loads_total");
        Self {
            hit: result("hit"),
            negative: result("negative"),
            stale: result("stale"),
            miss: result("miss"),
            unavailable: result("unavailable"),
            fills_refused: metrics.counter("cache_fills_refused_total").with(&[]),
            decode_failures: metrics.counter("cache_decode_failures_total").with(&[]),
            loads: LOAD_RESULTS.map(|result| loads.with(&[("result", result)])),
            load_seconds: metrics.histogram("cache_load_duration_seconds").with(&[]),
        }
    }

    pub(super) fn loaded<T>(&self, result: &Result<Option<T>, Error>, time: Duration) {
        let at = match result {
            Ok(Some(_)) => 0,
            Ok(None) => 1,
            Err(Error::LoadPanicked) => 3,
            Err(Error::LoadTimeout { .. }) => 4,
            Err(Error::Stopped) => 5,
            Err(_) => 2,
        };
        self.loads[at].increment(1);
        self.load_seconds.record_duration(time);
    }
}

/// The gauges of a store in this process; they show zero once it is gone.
pub(super) fn collect(metrics: &Metrics, memory: Weak<Memory>) {
    metrics.collect(move |sink| {
        let Some(usage) = memory.upgrade().map(|memory| memory.usage()) else { return };
        sink.gauge("cache_entries", &[], usage.entries as f64);
        sink.gauge("cache_bytes", &[], usage.bytes as f64);
        sink.counter("cache_evictions_total", &[], usage.evictions as f64);
    });
}

fn describe(metrics: &Metrics) {
    let counter = |name, help| metrics.describe_counter(name, Unit::None, help);
    counter("cache_requests_total", "Values asked for, by result: hit, negative, stale, miss, unavailable.");
    counter("cache_loads_total", "Loads, by result: ok, absent, error, panic, timeout, stopped.");
    counter("cache_fills_refused_total", "Loaded values that were not stored.");
    counter("cache_decode_failures_total", "Cached values that could not be read as the type asked for.");
    counter("cache_evictions_total", "Entries evicted for want of room.");
    let buckets = crate::metrics::DEFAULT_BUCKETS;
    let seconds = "Time that loads took, failed ones included.";
    metrics.describe_histogram("cache_load_duration_seconds", Unit::Seconds, seconds, &buckets);
    metrics.describe_gauge("cache_loads_in_flight", Unit::None, "Loads that have not ended.");
    metrics.describe_gauge("cache_entries", Unit::None, "Entries in this process.");
    metrics.describe_gauge("cache_bytes", Unit::Bytes, "Size of the entries in this process.");
}
