use std::panic::AssertUnwindSafe;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::check::{Outcome, PANICKED};
use super::hysteresis::Hysteresis;
use super::live::millis;
use super::message::safe;
use super::{Check, CheckReport, Observation, Options, Status};

/// A result older than this many intervals says nothing about now.
const STALE_AFTER: u32 = 3;

/// A registered check with its latest result.
pub(super) struct Entry {
    pub(super) check: Check,
    pub(super) removed: CancellationToken,
    registered: Instant,
    latest: ArcSwapOption<Latest>,
    /// Whoever holds it probes: a second owner of tasks waits here, so runs never overlap.
    pub(super) turn: Mutex<Hysteresis>,
}

struct Latest {
    state: Status,
    message: Option<String>,
    value: Option<(f64, String)>,
    took: Duration,
    ended: Instant,
    wall: Timestamp,
    failures: u32,
}

impl Entry {
    pub(super) fn new(check: Check) -> Self {
        Self {
            check,
            removed: CancellationToken::new(),
            registered: Instant::now(),
            latest: ArcSwapOption::empty(),
            turn: Mutex::default(),
        }
    }

    pub(super) fn interval(&self, options: &Options) -> Duration {
        self.check.interval.unwrap_or(options.interval)
    }

    /// Probes once, for at most the timeout, and keeps the result.
    pub(super) async fn run(&self, hysteresis: &mut Hysteresis, options: &Options) {
        let timeout = self.check.timeout.unwrap_or(options.timeout);
        let started = Instant::now();
        let probe = AssertUnwindSafe(async { self.check.probe.run().await }).catch_unwind();
        let outcome = match tokio::time::timeout(timeout, probe).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => Err(PANICKED.into()),
            Err(_elapsed) => Err(format!("no answer within {} ms", millis(timeout))),
        };
        self.record(outcome, started.elapsed(), hysteresis, options);
    }

    fn record(&self, outcome: Outcome, took: Duration, hysteresis: &mut Hysteresis, options: &Options) {
        let seen = outcome.unwrap_or_else(|error| Observation::from(()).fail(error));
        let before = self.latest.load_full();
        let state = hysteresis.record(seen.result, options.fail_after, options.pass_after);
        let message = seen.message.as_deref().map(safe).or_else(|| {
            // Not healthy again yet: keep saying why.
            let last = before.as_ref().filter(|_| state != Status::Healthy)?;
            last.message.clone()
        });
        let latest = Latest {
            state,
            message,
            value: seen.value,
            took,
            ended: Instant::now(),
            wall: Timestamp::now(),
            failures: hysteresis.consecutive_failures(),
        };
        self.log_change(before.map_or(Status::Healthy, |last| last.state), &latest);
        self.latest.store(Some(latest.into()));
    }

    fn log_change(&self, before: Status, latest: &Latest) {
        let (check, status) = (self.check.name.as_str(), latest.state.as_str());
        let reason = latest.message.as_deref().unwrap_or_default();
        match latest.state {
            state if state == before => {}
            Status::Healthy => tracing::info!(check, status, "health check recovered"),
            Status::Unhealthy if self.check.critical => {
                tracing::error!(check, status, reason, "critical health check failed");
            }
            Status::Degraded | Status::Unhealthy => {
                tracing::warn!(check, status, reason, "health check got worse");
            }
        }
    }

    /// Whether its first result may still come.
    pub(super) fn is_starting(&self, options: &Options) -> bool {
        self.latest.load().is_none() && self.registered.elapsed() < options.startup_grace
    }

    /// Whether it keeps the instance out of the load balancer.
    pub(super) fn closes_the_gate(&self, options: &Options) -> bool {
        let failed = || self.latest.load().as_deref().is_some_and(|latest| latest.state == Status::Unhealthy);
        self.check.gates_readiness && (self.is_starting(options) || failed())
    }

    /// What its state means for the whole service.
    pub(super) fn effect(&self, options: &Options) -> Status {
        match self.latest.load().as_deref() {
            None => Status::Degraded,
            Some(latest) if latest.state == Status::Unhealthy && self.check.critical => latest.state,
            Some(latest) => self.status(latest, options).min(Status::Degraded),
        }
    }

    /// Silence is no good news and no recovery either: it never improves the state.
    fn status(&self, latest: &Latest, options: &Options) -> Status {
        if self.is_stale(latest, options) { latest.state.max(Status::Degraded) } else { latest.state }
    }

    fn is_stale(&self, latest: &Latest, options: &Options) -> bool {
        latest.ended.elapsed() > self.interval(options).saturating_mul(STALE_AFTER)
    }

    pub(super) fn report(&self, options: &Options) -> CheckReport {
        let report = CheckReport {
            status: Status::Degraded,
            response_time: 0,
            critical: self.check.critical,
            kind: self.check.kind.clone(),
            last_checked: None,
            age: None,
            message: Some("unknown: no result yet".into()),
            consecutive_failures: 0,
            observed_value: None,
            observed_unit: None,
        };
        let Some(latest) = self.latest.load_full() else { return report };
        let age = millis(latest.ended.elapsed());
        let (observed_value, observed_unit) = latest.value.clone().unzip();
        CheckReport {
            status: self.status(&latest, options),
            response_time: millis(latest.took),
            last_checked: Some(latest.wall.as_millisecond()),
            age: Some(age),
            message: if self.is_stale(&latest, options) {
                Some(format!("unknown: no result for {age} ms"))
            } else {
                latest.message.clone()
            },
            consecutive_failures: latest.failures,
            observed_value,
            observed_unit,
            ..report
        }
    }
}
