use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};
use tokio::time::Instant;

/// An event loop that has not come round for this long is taken for dead.
const MAX_AGE: Duration = Duration::from_secs(10);
const NOT_WATCHED: u64 = u64::MAX;

/// Proof that the runtime still runs tasks. Written by a task, read without a lock.
#[derive(Debug)]
pub(super) struct Beat {
    epoch: Instant,
    last: AtomicU64,
    poison: OnceLock<String>,
}

impl Beat {
    pub(super) fn new(epoch: Instant) -> Self {
        Self { epoch, last: AtomicU64::new(NOT_WATCHED), poison: OnceLock::new() }
    }

    pub(super) fn mark(&self, now: Instant) {
        self.last.store(millis(now - self.epoch), Ordering::Relaxed);
    }

    /// Nobody beats any more, on purpose: a missing beat no longer means a dead loop.
    pub(super) fn rest(&self) {
        self.last.store(NOT_WATCHED, Ordering::Relaxed);
    }

    pub(super) fn poison(&self, reason: String) {
        // The first reason is the cause, later ones are consequences.
        let _ = self.poison.set(reason);
    }

    /// Why the process should be restarted, if it should.
    pub(super) fn dead(&self, now: Instant) -> Option<String> {
        if let Some(reason) = self.poison.get() {
            return Some(reason.clone());
        }
        let last = self.last.load(Ordering::Relaxed);
        let age = millis(now - self.epoch).saturating_sub(last);
        (last != NOT_WATCHED && u128::from(age) > MAX_AGE.as_millis())
            .then(|| format!("the event loop has not turned for {age} ms"))
    }
}

/// Whole milliseconds; a process does not live for 500 million years.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Answer to "should this process be restarted?". Serializes as `{status, timestamp, uptime}` with
/// the status `alive` or `dead`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Liveness {
    /// Whether the process works.
    pub alive: bool,
    /// Why it does not. For the log; not part of the JSON.
    pub reason: Option<String>,
    /// When this was asked, in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Milliseconds since the handle was made.
    pub uptime: u64,
}

impl Serialize for Liveness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_struct("Liveness", 3)?;
        body.serialize_field("status", if self.alive { "alive" } else { "dead" })?;
        body.serialize_field("timestamp", &self.timestamp)?;
        body.serialize_field("uptime", &self.uptime)?;
        body.end()
    }
}

/// Answer to "should this instance get requests?". Serializes as `{"status":"ready"}` or
/// `{"status":"not ready","failedChecks":[…]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// Whether it should.
    pub ready: bool,
    /// Names of the failed checks that gate readiness, after `starting` and `draining`.
    pub failed_checks: Vec<String>,
}

impl Serialize for Readiness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_struct("Readiness", 2)?;
        if self.ready {
            body.serialize_field("status", "ready")?;
        } else {
            body.serialize_field("status", "not ready")?;
            body.serialize_field("failedChecks", &self.failed_checks)?;
        }
        body.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stops_turning_is_dead_after_ten_seconds() {
        let start = Instant::now();
        let beat = Beat::new(start);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(beat.dead(after(3600)), None, "never watched");
        beat.mark(after(5));
        assert_eq!(beat.dead(after(15)), None);
        assert_eq!(beat.dead(after(16)).as_deref(), Some("the event loop has not turned for 11000 ms"));
        beat.mark(after(17));
        assert_eq!(beat.dead(after(18)), None);
        beat.rest();
        assert_eq!(beat.dead(after(3600)), None);
    }
}
