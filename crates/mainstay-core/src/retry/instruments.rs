//! What a retry counts, as handles made once.

use crate::metrics::{Counter, Metrics, Unit};

const ATTEMPTS: &str = "retry_attempts_total";
const RECOVERED: &str = "retry_recovered_total";
const GIVEN_UP: &str = "retry_given_up_total";
pub(super) const TOKENS: &str = "retry_budget_tokens";

#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) attempts: Counter,
    pub(super) recovered: Counter,
    pub(super) out_of_attempts: Counter,
    pub(super) out_of_budget: Counter,
    pub(super) out_of_time: Counter,
    pub(super) retry_after: Counter,
}

impl Instruments {
    pub(super) fn new(name: &str, metrics: &Metrics) -> Self {
        metrics.describe_counter(ATTEMPTS, Unit::None, "Attempts after the first, by policy.");
        metrics.describe_counter(RECOVERED, Unit::None, "Calls that succeeded by a further attempt.");
        metrics.describe_counter(GIVEN_UP, Unit::None, "Calls that failed with a retryable error.");
        metrics.describe_gauge(TOKENS, Unit::None, "Extra attempts that the budget would pay for.");
        let given_up = |reason| metrics.counter(GIVEN_UP).with(&[("name", name), ("reason", reason)]);
        Self {
            attempts: metrics.counter(ATTEMPTS).with(&[("name", name)]),
            recovered: metrics.counter(RECOVERED).with(&[("name", name)]),
            out_of_attempts: given_up("attempts"),
            out_of_budget: given_up("budget"),
            out_of_time: given_up("deadline"),
            retry_after: given_up("retry_after"),
        }
    }
}
