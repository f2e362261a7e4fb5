//! Whether the queue ever empties.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use crate::time::{Moment, micros};

/// The least delay of each interval, in microseconds.
#[derive(Debug)]
pub(super) struct Codel {
    ends: AtomicU64,
    least: AtomicU64,
    overloaded: AtomicBool,
}

impl Codel {
    pub(super) fn new() -> Self {
        Self { ends: AtomicU64::new(0), least: AtomicU64::new(u64::MAX), overloaded: AtomicBool::new(false) }
    }

    /// Counts a delay that ended `now`; whether the server is overloaded.
    pub(super) fn observe(&self, now: Moment, delay: Duration, target: Duration, interval: Duration) -> bool {
        let (now, interval) = (now.as_micros(), micros(interval));
        let ends = self.ends.load(SeqCst);
        if now >= ends && self.begin(ends, now.saturating_add(interval)) {
            let least = self.least.swap(u64::MAX, SeqCst);
            // An interval in which nobody queued has no delay that stayed above the target, nor has a pause.
            let continues = now - ends < interval && least != u64::MAX;
            self.overloaded.store(continues && least > micros(target), SeqCst);
        }
        self.least.fetch_min(micros(delay), SeqCst);
        self.overloaded.load(SeqCst)
    }

    fn begin(&self, ended: u64, ends: u64) -> bool {
        self.ends.compare_exchange(ended, ends, SeqCst, SeqCst).is_ok()
    }

    /// Whether it was overloaded when it was asked last, and that is not long ago.
    pub(super) fn is_overloaded(&self, now: Moment, interval: Duration) -> bool {
        self.overloaded.load(SeqCst)
            && now.as_micros() < self.ends.load(SeqCst).saturating_add(micros(interval))
    }
}
