//! What this store counts.

use std::sync::Weak;

use mainstay_core::metrics::{Counter, Metrics, Unit};

use super::Shared;
use super::envelope::Rejected;

#[derive(Debug)]
pub(super) struct Meters {
    pub(super) near_hits: Counter,
    pub(super) near_misses: Counter,
    pub(super) invalidations: Counter,
    rejected: [Counter; Rejected::ALL.len()],
}

impl Meters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let counter = |name, help| {
            metrics.describe_counter(name, Unit::None, help);
            metrics.counter(name)
        };
        let rejected = counter(
            "cache_envelope_rejected_total",
            "Values of the server that were taken for missing, by reason: format, checksum, key, schema, size.",
        );
        Self {
            near_hits: counter("cache_near_hits_total", "Values that were found in this process.").with(&[]),
            near_misses: counter("cache_near_misses_total", "Values that the server was asked for.")
                .with(&[]),
            invalidations: counter(
                "cache_near_invalidations_total",
                "Keys of which the server said that they changed.",
            )
            .with(&[]),
            rejected: Rejected::ALL.map(|why| rejected.with(&[("reason", why.reason())])),
        }
    }

    pub(super) fn rejected(&self, why: Rejected) {
        self.rejected[why as usize].increment(1);
        tracing::debug!(reason = why.reason(), "a value on the server is no use");
    }
}

/// The gauges of what is near; they show nothing once the store is gone.
pub(super) fn collect(metrics: &Metrics, shared: Weak<Shared>) {
    metrics.describe_gauge("cache_entries", Unit::None, "Entries in this process.");
    metrics.describe_gauge("cache_bytes", Unit::Bytes, "Size of the entries in this process.");
    metrics.describe_counter("cache_evictions_total", Unit::None, "Entries evicted for want of room.");
    metrics.collect(move |sink| {
        let Some(shared) = shared.upgrade() else { return };
        sink.gauge("cache_entries", &[], shared.values.len() as f64);
        sink.gauge("cache_bytes", &[], shared.values.weight() as f64);
        sink.counter("cache_evictions_total", &[], shared.values.evictions() as f64);
    });
}
