//! What a hedge counts, as handles made once.

use crate::metrics::{Counter, Metrics, Unit};

const HEDGES: &str = "hedges_total";
const UNPAID: &str = "hedges_unpaid_total";
pub(super) const DELAY: &str = "hedge_delay_seconds";

#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) first: Counter,
    pub(super) second: Counter,
    pub(super) none: Counter,
    pub(super) unpaid: Counter,
}

impl Instruments {
    pub(super) fn new(name: &str, metrics: &Metrics) -> Self {
        metrics.describe_counter(HEDGES, Unit::None, "Second attempts, by which of the two won.");
        metrics.describe_counter(UNPAID, Unit::None, "Second attempts that the budget did not pay for.");
        metrics.describe_gauge(DELAY, Unit::Seconds, "After how long a call is made a second time.");
        let won = |won| metrics.counter(HEDGES).with(&[("name", name), ("won", won)]);
        Self {
            first: won("first"),
            second: won("second"),
            none: won("none"),
            unpaid: metrics.counter(UNPAID).with(&[("name", name)]),
        }
    }
}
