use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::{Mode, State};

/// How a breaker stands, for people and dashboards.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its name.
    pub name: Arc<str>,
    /// What it does with calls; in [`Mode::Observe`], what it would do.
    pub state: State,
    /// Who decides.
    pub mode: Mode,
    /// Calls in the window; while it is not closed, those that opened it.
    pub calls: u64,
    /// Failures in the window.
    pub failures: u64,
    /// Slow calls in the window, failed or not.
    pub slow: u64,
    /// `failures / calls`, 0 without calls.
    pub failure_rate: f64,
    /// `slow / calls`, 0 without calls.
    pub slow_rate: f64,
    /// Calls refused since the start; in [`Mode::Observe`], those it would have refused.
    pub not_permitted: u64,
    /// When it opened last, by the calendar.
    #[serde(serialize_with = "timestamp")]
    pub opened_at: Option<Timestamp>,
    /// Why it opened last.
    pub last_opening: Option<String>,
    /// How long calls are still refused, in seconds when serialized; zero if the next one is let pass.
    #[serde(serialize_with = "seconds")]
    pub retry_after: Duration,
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn timestamp<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        None => serializer.serialize_none(),
        Some(at) => serializer.collect_str(at),
    }
}
