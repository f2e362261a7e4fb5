//! What a shedder counts, as handles made once.

use super::policy::Priority;
use crate::metrics::{Counter, Metrics, Unit};

const REQUESTS: &str = "shed_requests_total";
pub(super) const OVERLOADED: &str = "shed_overloaded";

#[derive(Debug)]
pub(super) struct Instruments {
    low: Counter,
    normal: Counter,
}

impl Instruments {
    pub(super) fn new(name: &str, metrics: &Metrics) -> Self {
        metrics.describe_counter(REQUESTS, Unit::None, "Requests refused for overload, by priority.");
        metrics.describe_gauge(OVERLOADED, Unit::None, "1 while the server is overloaded.");
        let shed = |priority| metrics.counter(REQUESTS).with(&[("name", name), ("priority", priority)]);
        Self { low: shed("low"), normal: shed("normal") }
    }

    pub(super) fn shed(&self, priority: Priority) {
        match priority {
            Priority::Low => self.low.increment(1),
            Priority::Normal => self.normal.increment(1),
            Priority::Critical => {}
        }
    }
}
