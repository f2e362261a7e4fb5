//! What a bulkhead counts, as handles made once.

use super::error::Refusal;
use crate::metrics::{Counter, Histogram, Metrics, Unit};

pub(super) const IN_FLIGHT: &str = "bulkhead_in_flight";
pub(super) const WAITING: &str = "bulkhead_waiting";
const REFUSED: &str = "bulkhead_refused_total";
const WAIT: &str = "bulkhead_wait_seconds";

const WAITS: [f64; 10] = [0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

#[derive(Debug)]
pub(super) struct Instruments {
    queue: Counter,
    wait: Counter,
    deadline: Counter,
    pub(super) waited: Histogram,
}

impl Instruments {
    pub(super) fn new(name: &str, metrics: &Metrics) -> Self {
        metrics.describe_gauge(IN_FLIGHT, Unit::None, "Calls that have a slot of the bulkhead.");
        metrics.describe_gauge(WAITING, Unit::None, "Calls that wait for a slot of the bulkhead.");
        metrics.describe_counter(REFUSED, Unit::None, "Calls that got no slot, by bulkhead and reason.");
        metrics.describe_histogram(WAIT, Unit::Seconds, "Wait for a slot that was not free.", &WAITS);
        let refused = |reason| metrics.counter(REFUSED).with(&[("name", name), ("reason", reason)]);
        Self {
            queue: refused("queue"),
            wait: refused("wait"),
            deadline: refused("deadline"),
            waited: metrics.histogram(WAIT).with(&[("name", name)]),
        }
    }

    pub(super) fn refused(&self, reason: Refusal) {
        match reason {
            Refusal::Queue => self.queue.increment(1),
            Refusal::Wait => self.wait.increment(1),
            Refusal::Deadline => self.deadline.increment(1),
        }
    }
}
