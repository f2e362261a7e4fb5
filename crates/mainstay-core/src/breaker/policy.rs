use std::time::Duration;

use crate::policy::{self, PolicyError};

/// Most calls a count window can hold.
pub const MAX_WINDOW_CALLS: u32 = 100_000;

/// Most probes of a half-open breaker.
pub const MAX_PROBES: u32 = 1_000;

/// Longest window, open time or probe lease: a day. What is longer would be for ever.
pub const MAX_TIME: Duration = Duration::from_secs(24 * 3600);

/// Shortest time window: its tenth part is a millisecond.
const MIN_WINDOW: Duration = Duration::from_millis(10);

/// Which calls are judged together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The last so many calls, exactly.
    Count(u32),
    /// The calls of this much time, in ten buckets: of the last nine tenths of it to the whole.
    Time(Duration),
}

/// When a breaker opens and closes. Plain data with complete defaults.
///
/// ```
/// use mainstay_core::breaker::{Policy, Window};
/// use std::time::Duration;
///
/// let mut policy = Policy::default();
/// policy.window = Window::Time(Duration::from_secs(30));
/// policy.slow_call = Duration::from_secs(2);
/// assert!(policy.check().is_ok());
/// policy.probes = 0;
/// assert_eq!(policy.check().unwrap_err().field, "probes");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// Which calls are judged together. Default the last 100.
    pub window: Window,
    /// No rate is judged before the window holds this many calls: 1 to the window's. Default 20.
    pub min_calls: u32,
    /// Opens when this share of the calls failed, or more; above 0, at most 1. Default 0.5.
    pub failure_rate: f64,
    /// A call that takes this long is slow. Reading the clock twice costs more than all the rest of a call:
    /// the default `Duration::MAX` is "never", and the clock is not read.
    pub slow_call: Duration,
    /// Opens when this share of the calls was slow, or more; above 0, at most 1. Default 1.
    pub slow_rate: f64,
    /// Opens after so many failures in a row. If set, this is the only rule: rates are counted and shown, not
    /// judged. Default `None`.
    pub consecutive_failures: Option<u32>,
    /// How long it stays open the first time; then twice as long each time, until it closes. Each time is
    /// drawn from 0.8 to 1.2 of that, as far as `open_max` allows, so that instances do not come back together.
    /// Default 5 s.
    pub open_for: Duration,
    /// The longest it stays open, by jitter or by a dependency's wish. Default 60 s.
    pub open_max: Duration,
    /// Most calls that a half-open breaker lets pass until it decides. Default 5.
    pub probes: u32,
    /// So many of them have to succeed: then it closes; once that is out of reach it opens. Default 3.
    pub probes_to_close: u32,
    /// A probe that has not ended in this time is given up and counts as failed. Longer than any call takes.
    /// Default 60 s.
    pub probe_lease: Duration,
    /// A call that is cancelled after this long counts as failed: callers who gave up on a dependency that
    /// hangs. `None`, the default: being cancelled says nothing about the dependency.
    pub cancel_is_failure_after: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            window: Window::Count(100),
            min_calls: 20,
            failure_rate: 0.5,
            slow_call: Duration::MAX,
            slow_rate: 1.0,
            consecutive_failures: None,
            open_for: Duration::from_secs(5),
            open_max: Duration::from_secs(60),
            probes: 5,
            probes_to_close: 3,
            probe_lease: Duration::from_secs(60),
            cancel_is_failure_after: None,
        }
    }
}

impl Policy {
    /// The simple breaker: opens after `failures` in a row, and `after` that time lets one call probe. The
    /// time stays about the same however often that fails.
    #[must_use]
    pub fn consecutive(failures: u32, after: Duration) -> Self {
        Self {
            consecutive_failures: Some(failures),
            open_for: after,
            open_max: after.saturating_mul(6) / 5,
            probes: 1,
            probes_to_close: 1,
            ..Self::default()
        }
    }

    /// Whether a breaker can work so.
    ///
    /// # Errors
    /// Names the first field that is out of its bounds.
    pub fn check(&self) -> Result<(), PolicyError> {
        let rate = |rate: f64| rate > 0.0 && rate <= 1.0;
        let time = |time: Duration| !time.is_zero() && time <= MAX_TIME;
        let rules = [
            (self.window.is_possible(), "window", "must be 1 to 100,000 calls, or 10 ms to a day"),
            (self.min_calls > 0, "min_calls", "must be above 0"),
            (self.window.holds(self.min_calls), "min_calls", "must not be more than the window holds"),
            (rate(self.failure_rate), "failure_rate", "must be above 0 and at most 1"),
            (!self.slow_call.is_zero(), "slow_call", "must be above 0"),
            (rate(self.slow_rate), "slow_rate", "must be above 0 and at most 1"),
            (
                self.consecutive_failures.is_none_or(|calls| (1..=MAX_WINDOW_CALLS).contains(&calls)),
                "consecutive_failures",
                "must be 1 to 100,000",
            ),
            (time(self.open_for), "open_for", "must be above 0 and at most a day"),
            (time(self.open_max), "open_max", "must be above 0 and at most a day"),
            (self.open_max >= self.open_for, "open_max", "must not be less than open_for"),
            ((1..=MAX_PROBES).contains(&self.probes), "probes", "must be 1 to 1,000"),
            (
                (1..=self.probes).contains(&self.probes_to_close),
                "probes_to_close",
                "must be 1 to the number of probes",
            ),
            (time(self.probe_lease), "probe_lease", "must be above 0 and at most a day"),
            (
                self.cancel_is_failure_after.is_none_or(|time| !time.is_zero()),
                "cancel_is_failure_after",
                "must be above 0",
            ),
        ];
        policy::check("breaker", rules)
    }
}

impl Window {
    fn is_possible(self) -> bool {
        match self {
            Self::Count(calls) => (1..=MAX_WINDOW_CALLS).contains(&calls),
            Self::Time(time) => (MIN_WINDOW..=MAX_TIME).contains(&time),
        }
    }

    fn holds(self, calls: u32) -> bool {
        match self {
            Self::Count(most) => calls <= most,
            Self::Time(_) => true,
        }
    }
}
