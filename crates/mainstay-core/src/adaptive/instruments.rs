//! What an adaptive limit counts, as handles made once.

use crate::metrics::{Counter, Metrics, Unit};

pub(super) const LIMIT: &str = "adaptive_limit";
pub(super) const IN_FLIGHT: &str = "adaptive_in_flight";
const REFUSED: &str = "adaptive_refused_total";
const OVERLOADED: &str = "adaptive_overloaded_total";

#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) refused: Counter,
    pub(super) overloaded: Counter,
}

impl Instruments {
    pub(super) fn new(name: &str, metrics: &Metrics) -> Self {
        metrics.describe_gauge(LIMIT, Unit::None, "Calls at once that the dependency seems to take.");
        metrics.describe_gauge(IN_FLIGHT, Unit::None, "Calls that are out under the limit.");
        metrics.describe_counter(REFUSED, Unit::None, "Calls over the limit.");
        metrics.describe_counter(OVERLOADED, Unit::None, "Calls that ended in a timeout or a refusal.");
        Self {
            refused: metrics.counter(REFUSED).with(&[("name", name)]),
            overloaded: metrics.counter(OVERLOADED).with(&[("name", name)]),
        }
    }
}
