//! One series: its labels, its value, and whether it is in use.
//!
//! An update writes the value, then looks at the state; [`Family::upkeep`] takes a series out by a
//! compare-and-swap from `QUIET`. So either the update comes first and keeps the series, or it sees
//! `RETIRED` and brings the series back: no update is lost, and a busy series pays one load.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Weak};

use super::family::{Family, Kind};
use super::histogram::Counts;
use super::key::Key;
use super::striped::Striped;
use super::summary::Window;

/// Updated since the last upkeep.
const ACTIVE: u8 = 0;
/// Not updated since an upkeep.
const QUIET: u8 = 1;
/// Taken out of the registry.
const RETIRED: u8 = 2;

#[derive(Debug)]
pub(super) enum Value {
    Counter(Striped<AtomicU64>),
    /// The bits of a float.
    Gauge(AtomicU64),
    Histogram(Counts),
    /// Boxed: it is large and the others are small.
    Summary(Box<Window>),
}

#[derive(Debug)]
pub(super) struct Series {
    state: AtomicU8,
    value: Value,
    pub(super) key: Key,
    /// What stands between the braces.
    pub(super) labels: Box<str>,
    home: Weak<Family>,
}

impl Series {
    pub(super) fn new(key: Key, value: Value, home: Weak<Family>) -> Self {
        let labels = key.render_labels().into();
        Self { state: AtomicU8::new(ACTIVE), value, key, labels, home }
    }

    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    #[inline]
    pub(super) fn increment(self: &Arc<Self>, by: u64) {
        if let Value::Counter(counter) = &self.value {
            counter.add(by);
            self.touch();
        }
    }

    #[inline]
    pub(super) fn set(self: &Arc<Self>, value: f64) {
        if let Value::Gauge(gauge) = &self.value {
            gauge.store(value.to_bits(), Relaxed);
            self.touch();
        }
    }

    #[inline]
    pub(super) fn add(self: &Arc<Self>, delta: f64) {
        if let Value::Gauge(gauge) = &self.value {
            let mut seen = gauge.load(Relaxed);
            while let Err(now) =
                gauge.compare_exchange_weak(seen, (f64::from_bits(seen) + delta).to_bits(), Relaxed, Relaxed)
            {
                seen = now;
            }
            self.touch();
        }
    }

    #[inline]
    pub(super) fn record(self: &Arc<Self>, value: f64) {
        if !value.is_finite() {
            return self.refuse();
        }
        match &self.value {
            Value::Histogram(counts) => counts.record(value),
            Value::Summary(window) => window.record(value),
            Value::Counter(_) | Value::Gauge(_) => return,
        }
        self.touch();
    }

    #[cold]
    fn refuse(&self) {
        if let Some(home) = self.home.upgrade() {
            home.refuse_not_finite();
        }
    }

    #[inline]
    fn touch(self: &Arc<Self>) {
        if self.state.load(SeqCst) != ACTIVE {
            self.wake();
        }
    }

    #[cold]
    fn wake(self: &Arc<Self>) {
        let state = self.state.compare_exchange(QUIET, ACTIVE, SeqCst, SeqCst);
        if state == Err(RETIRED)
            && let Some(home) = self.home.upgrade()
        {
            home.revive(self);
        }
    }

    /// Whether it was updated since the last call.
    pub(super) fn was_active(&self) -> bool {
        self.state.compare_exchange(ACTIVE, QUIET, SeqCst, SeqCst).is_ok()
    }

    /// Takes a quiet series out; false if an update came first.
    pub(super) fn retire(&self) -> bool {
        self.state.compare_exchange(QUIET, RETIRED, SeqCst, SeqCst).is_ok()
    }

    /// Whether this call brought it back; false if another one did.
    pub(super) fn unretire(&self) -> bool {
        self.state.compare_exchange(RETIRED, ACTIVE, SeqCst, SeqCst).is_ok()
    }

    pub(super) fn kind(&self) -> Kind {
        match self.value {
            Value::Counter(_) => Kind::Counter,
            Value::Gauge(_) => Kind::Gauge,
            Value::Histogram(_) => Kind::Histogram,
            Value::Summary(_) => Kind::Summary,
        }
    }
}

/// A counter's total.
pub(super) fn total(counter: &Striped<AtomicU64>) -> u64 {
    counter.parts().fold(0, |sum, part| sum.wrapping_add(part.load(Relaxed)))
}

/// A gauge's value.
pub(super) fn level(gauge: &AtomicU64) -> f64 {
    f64::from_bits(gauge.load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::Series;

    #[test]
    fn a_series_takes_the_memory_its_docs_state() {
        // Two reference counts and the node of the index come on top.
        assert!(size_of::<Series>() <= 160, "{} bytes", size_of::<Series>());
    }
}
