//! `[breakers.<name>]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::field::{Field, Kind};
use crate::config::section::{Checks, Section, defaults};

/// Longest time of a breaker: what is longer would be for ever.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// When one circuit breaker opens and closes. Shares are in per cent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Breaker {
    /// `BREAKER_*_MODE`: who decides.
    pub mode: BreakerMode,
    /// `BREAKER_*_FAILURE_THRESHOLD`: failures in a row that open it, instead of rates; 0 is "by rates".
    pub failure_threshold: u32,
    /// `BREAKER_*_RECOVERY_TIMEOUT`: how long it stays open the first time.
    #[serde(with = "crate::config::millis")]
    pub recovery_timeout: Duration,
    /// `BREAKER_*_RECOVERY_MAX`: the longest it stays open.
    #[serde(with = "crate::config::millis")]
    pub recovery_max: Duration,
    /// `BREAKER_*_WINDOW_CALLS`: how many calls are judged together.
    pub window_calls: u32,
    /// `BREAKER_*_WINDOW_TIME`: judges the calls of so much time instead, unless 0.
    #[serde(with = "crate::config::millis")]
    pub window_time: Duration,
    /// `BREAKER_*_MIN_CALLS`: no rate is judged before the window holds so many.
    pub min_calls: u32,
    /// `BREAKER_*_FAILURE_RATE`: per cent of failures that open it.
    pub failure_rate: u32,
    /// `BREAKER_*_SLOW_CALL`: what is slow; 0 is "nothing".
    #[serde(with = "crate::config::millis")]
    pub slow_call: Duration,
    /// `BREAKER_*_SLOW_RATE`: per cent of slow calls that open it.
    pub slow_rate: u32,
    /// `BREAKER_*_PROBES`: calls that a half-open breaker lets pass.
    pub probes: u32,
    /// `BREAKER_*_PROBES_TO_CLOSE`: how many of them have to succeed.
    pub probes_to_close: u32,
    /// `BREAKER_*_PROBE_LEASE`: a probe that has not ended by then has failed.
    #[serde(with = "crate::config::millis")]
    pub probe_lease: Duration,
    /// `BREAKER_*_CANCEL_IS_FAILURE_AFTER`: a call cancelled after so long has failed; 0 is "never".
    #[serde(with = "crate::config::millis")]
    pub cancel_is_failure_after: Duration,
}

/// Who decides about calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BreakerMode {
    /// The breaker.
    Automatic,
    /// Nobody: it counts and tells what it would do.
    Observe,
    /// No call passes.
    ForcedOpen,
    /// All calls pass, uncounted.
    Disabled,
}

const COUNT: Kind = Kind::Integer { min: 1, max: 100_000 };
const PERCENT: Kind = Kind::Integer { min: 1, max: 100 };

impl Section for Breaker {
    const NAME: &'static str = "breakers";
    const FIELDS: &'static [Field] = &[
        Field::new(
            "mode",
            Kind::Enum(&["automatic", "observe", "forced_open", "disabled"]),
            "Who decides: the breaker; nobody, it only tells; no call passes; all pass, uncounted",
        )
        .env(&["BREAKER_*_MODE"])
        .default("automatic"),
        Field::new(
            "failure_threshold",
            Kind::Integer { min: 0, max: 100_000 },
            "Failures in a row that open it, instead of rates; 0: rates decide",
        )
        .env(&["BREAKER_*_FAILURE_THRESHOLD"])
        .default("0"),
        Field::new(
            "recovery_timeout",
            Kind::PERIOD,
            "How long it stays open the first time; then twice as long",
        )
        .env(&["BREAKER_*_RECOVERY_TIMEOUT"])
        .default("5s"),
        Field::new("recovery_max", Kind::PERIOD, "The longest it stays open")
            .env(&["BREAKER_*_RECOVERY_MAX"])
            .default("60s"),
        Field::new("window_calls", COUNT, "How many calls are judged together")
            .env(&["BREAKER_*_WINDOW_CALLS"])
            .default("100"),
        Field::new("window_time", Kind::DURATION, "Judges the calls of so much time instead, unless 0")
            .env(&["BREAKER_*_WINDOW_TIME"])
            .default("0"),
        Field::new("min_calls", COUNT, "No rate is judged before the window holds so many")
            .env(&["BREAKER_*_MIN_CALLS"])
            .default("20"),
        Field::new("failure_rate", PERCENT, "Per cent of failures that open it")
            .env(&["BREAKER_*_FAILURE_RATE"])
            .default("50"),
        Field::new("slow_call", Kind::DURATION, "A call that takes this long is slow; 0: none is")
            .env(&["BREAKER_*_SLOW_CALL"])
            .default("0"),
        Field::new("slow_rate", PERCENT, "Per cent of slow calls that open it")
            .env(&["BREAKER_*_SLOW_RATE"])
            .default("100"),
        Field::new(
            "probes",
            Kind::Integer { min: 1, max: 1_000 },
            "Calls that a half-open breaker lets pass until it decides",
        )
        .env(&["BREAKER_*_PROBES"])
        .default("5"),
        Field::new(
            "probes_to_close",
            Kind::Integer { min: 1, max: 1_000 },
            "How many of them have to succeed",
        )
        .env(&["BREAKER_*_PROBES_TO_CLOSE"])
        .default("3"),
        Field::new("probe_lease", Kind::PERIOD, "A probe that has not ended by then has failed")
            .env(&["BREAKER_*_PROBE_LEASE"])
            .default("60s"),
        Field::new(
            "cancel_is_failure_after",
            Kind::DURATION,
            "A call that is cancelled after so long has failed; 0: it says nothing",
        )
        .env(&["BREAKER_*_CANCEL_IS_FAILURE_AFTER"])
        .default("0"),
    ];

    fn validate(&self, checks: &mut Checks<'_>) {
        let times = [
            ("recovery_timeout", self.recovery_timeout),
            ("recovery_max", self.recovery_max),
            ("window_time", self.window_time),
            ("probe_lease", self.probe_lease),
        ];
        for (field, _) in times.iter().filter(|(_, time)| *time > DAY) {
            checks.refuse(&[field], "must not be longer than 24h");
        }
        if self.recovery_max < self.recovery_timeout {
            checks.refuse(&["recovery_max", "recovery_timeout"], "must not be shorter than recovery_timeout");
        }
        if !self.window_time.is_zero() && self.window_time < Duration::from_millis(10) {
            checks.refuse(&["window_time"], "must be 0 or at least 10ms");
        }
        if self.window_time.is_zero() && self.min_calls > self.window_calls {
            checks.refuse(&["min_calls", "window_calls"], "must not be more than the window holds");
        }
        if self.probes_to_close > self.probes {
            checks.refuse(&["probes_to_close", "probes"], "must not be more than there are probes");
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        defaults()
    }
}
