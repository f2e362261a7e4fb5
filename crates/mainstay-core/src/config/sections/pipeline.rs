//! `[pipelines.<name>]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::field::{Field, Kind};
use crate::config::section::{Checks, Section, defaults};

/// How calls to one dependency are made. Its breaker is configured in `[breakers.<name>]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pipeline {
    /// `PIPELINE_*_DEADLINE`: for a whole call, with all attempts and the pauses between them.
    #[serde(with = "crate::config::millis")]
    pub deadline: Duration,
    /// `PIPELINE_*_ATTEMPT_TIMEOUT`: for one attempt.
    #[serde(with = "crate::config::millis")]
    pub attempt_timeout: Duration,
    /// `PIPELINE_*_ATTEMPTS`: attempts of one call, the first one included.
    pub attempts: u32,
    /// `PIPELINE_*_BACKOFF`: longest pause before the second attempt; then twice as long.
    #[serde(with = "crate::config::millis")]
    pub backoff: Duration,
    /// `PIPELINE_*_BACKOFF_MAX`: longest pause.
    #[serde(with = "crate::config::millis")]
    pub backoff_max: Duration,
    /// `PIPELINE_*_RETRY_BUDGET`: retries and hedges in per cent of calls.
    pub retry_budget: u32,
    /// `PIPELINE_*_CONCURRENCY`: how many calls are under way at most: a fixed number, or one that is found.
    pub concurrency: Concurrency,
    /// `PIPELINE_*_MAX_CONCURRENT`: calls under way; the most that an adaptive limit finds.
    pub max_concurrent: u32,
    /// `PIPELINE_*_MAX_WAITING`: calls that wait for one of these to end; none with an adaptive limit.
    pub max_waiting: u32,
    /// `PIPELINE_*_MAX_WAIT`: how long they wait.
    #[serde(with = "crate::config::millis")]
    pub max_wait: Duration,
    /// `PIPELINE_*_HEDGE`: a second attempt is made when the first takes longer than this per cent of calls; 0 is
    /// "never".
    pub hedge: u32,
}

/// How the number of calls under way is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Concurrency {
    /// By a number.
    Fixed,
    /// By a number that follows how fast the dependency answers.
    Adaptive,
}

impl Section for Pipeline {
    const NAME: &'static str = "pipelines";
    const FIELDS: &'static [Field] = &[
        Field::new("deadline", Kind::PERIOD, "For a whole call, with all attempts and pauses")
            .env(&["PIPELINE_*_DEADLINE"])
            .default("10s"),
        Field::new("attempt_timeout", Kind::PERIOD, "For one attempt")
            .env(&["PIPELINE_*_ATTEMPT_TIMEOUT"])
            .default("3s"),
        Field::new("attempts", Kind::Integer { min: 1, max: 20 }, "Attempts of one call, the first one included")
            .env(&["PIPELINE_*_ATTEMPTS"])
            .default("3"),
        Field::new("backoff", Kind::DURATION, "Longest pause before the second attempt; then twice as long")
            .env(&["PIPELINE_*_BACKOFF"])
            .default("50ms"),
        Field::new("backoff_max", Kind::DURATION, "Longest pause")
            .env(&["PIPELINE_*_BACKOFF_MAX"])
            .default("1s"),
        Field::new(
            "retry_budget",
            Kind::Integer { min: 0, max: 1_000 },
            "Retries and hedges in per cent of calls, beside one a second",
        )
        .env(&["PIPELINE_*_RETRY_BUDGET"])
        .default("20"),
        Field::new(
            "concurrency",
            Kind::Enum(&["fixed", "adaptive"]),
            "Whether the calls under way are bounded by a fixed number, or by one that follows how fast answers come",
        )
        .env(&["PIPELINE_*_CONCURRENCY"])
        .default("fixed")
        .restart_only(),
        Field::new("max_concurrent", Kind::Integer { min: 1, max: 1_000_000 }, "Calls under way, at most")
            .env(&["PIPELINE_*_MAX_CONCURRENT"])
            .default("100"),
        Field::new(
            "max_waiting",
            Kind::Integer { min: 0, max: 1_000_000 },
            "Calls that wait for one of these to end; none with an adaptive limit",
        )
        .env(&["PIPELINE_*_MAX_WAITING"])
        .default("100"),
        Field::new("max_wait", Kind::DURATION, "How long they wait, at most")
            .env(&["PIPELINE_*_MAX_WAIT"])
            .default("1s"),
        Field::new(
            "hedge",
            Kind::Integer { min: 0, max: 99 },
            "A second attempt when the first takes longer than this per cent of calls; 0: never",
        )
        .env(&["PIPELINE_*_HEDGE"])
        .default("0"),
    ];

    fn validate(&self, checks: &mut Checks<'_>) {
        if self.attempt_timeout > self.deadline {
            checks.refuse(&["attempt_timeout", "deadline"], "must not be longer than the deadline");
        }
        if (1..50).contains(&self.hedge) {
            checks.refuse(&["hedge"], "must be 0 or at least 50");
        }
        if self.backoff > self.backoff_max {
            checks.refuse(&["backoff", "backoff_max"], "must not be longer than backoff_max");
        }
    }
}

impl Default for Pipeline {
    fn default() -> Self {
        defaults()
    }
}
