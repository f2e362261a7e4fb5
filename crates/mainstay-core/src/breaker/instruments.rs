//! What a breaker counts and tells.

use super::gate::{Outcome, Record};
use super::{Change, Mode, State};
use crate::metrics::{Counter, Gauge, Metrics, Unit};

const STATE: &str = "breaker_state";
const CALLS: &str = "breaker_calls_total";
const NOT_PERMITTED: &str = "breaker_not_permitted_total";
const TRANSITIONS: &str = "breaker_transitions_total";
const LATE: &str = "breaker_late_outcomes_total";
const LOST: &str = "breaker_lost_probes_total";

#[derive(Debug)]
pub(super) struct Instruments {
    state: Gauge,
    pub(super) success: Counter,
    slow: Counter,
    failure: Counter,
    ignored: Counter,
    cancelled: Counter,
    pub(super) not_permitted: Counter,
    late: Counter,
    lost: Counter,
    /// To closed, open, half-open.
    transitions: [Counter; 3],
}

impl Instruments {
    pub(super) fn new(name: &str, metrics: &Metrics) -> Self {
        metrics.describe_gauge(STATE, Unit::None, "State of a breaker: 0 closed, 1 half-open, 2 open.");
        metrics.describe_counter(CALLS, Unit::None, "Calls through a breaker, by outcome.");
        metrics.describe_counter(NOT_PERMITTED, Unit::None, "Calls that a breaker refused.");
        metrics.describe_counter(TRANSITIONS, Unit::None, "Changes of a breaker's state, by the new one.");
        metrics.describe_counter(LATE, Unit::None, "Outcomes of calls from before the breaker changed.");
        metrics.describe_counter(LOST, Unit::None, "Probes that did not end within their lease.");
        let calls = |outcome| metrics.counter(CALLS).with(&[("name", name), ("outcome", outcome)]);
        let to = |state: State| metrics.counter(TRANSITIONS).with(&[("name", name), ("to", state.as_str())]);
        let plain = |metric: &'static str| metrics.counter(metric).with(&[("name", name)]);
        let state = metrics.gauge(STATE).with(&[("name", name)]);
        state.set(0.0);
        Self {
            state,
            success: calls("success"),
            slow: calls("slow"),
            failure: calls("failure"),
            ignored: calls("ignored"),
            cancelled: calls("cancelled"),
            not_permitted: plain(NOT_PERMITTED),
            late: plain(LATE),
            lost: plain(LOST),
            transitions: [State::Closed, State::Open, State::HalfOpen].map(to),
        }
    }

    /// A call ended. Each is counted once, whether it decided something or came too late.
    pub(super) fn ended(&self, outcome: Outcome, record: &Record) {
        let counter = match outcome {
            Outcome::Success if record.slow => &self.slow,
            Outcome::Success => &self.success,
            Outcome::Failure | Outcome::FailureFor(_) => &self.failure,
            Outcome::Cancelled if record.failed => &self.failure,
            Outcome::Ignored => &self.ignored,
            Outcome::Cancelled => &self.cancelled,
        };
        counter.increment(1);
        if record.late {
            self.late.increment(1);
        }
    }

    pub(super) fn lost(&self, name: &str, probes: u32) {
        self.lost.increment(probes.into());
        tracing::warn!(breaker = name, probes, "probes did not end within their lease");
    }

    pub(super) fn changed(&self, change: &Change) {
        let Change { name, from, to, mode, reason, .. } = change;
        if from != to {
            self.transitions[*to as usize].increment(1);
        }
        if *to == State::Open && *mode != Mode::ForcedOpen {
            tracing::warn!(breaker = &**name, %from, %to, %mode, %reason, "breaker opened");
        } else {
            tracing::info!(breaker = &**name, %from, %to, %mode, %reason, "breaker changed");
        }
    }

    pub(super) fn show(&self, state: State) {
        self.state.set(match state {
            State::Closed => 0.0,
            State::HalfOpen => 1.0,
            State::Open => 2.0,
        });
    }
}
