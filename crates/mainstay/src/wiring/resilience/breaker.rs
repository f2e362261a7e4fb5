//! Breakers by their settings.

use std::time::Duration;

use mainstay_core::breaker::{self, Breaker, Mode, Window};
use mainstay_core::config::{self, BreakerMode};

pub(super) fn configure(breaker: &Breaker, settings: &config::Breaker) {
    match breaker.configure(policy(settings)) {
        Ok(()) => breaker.force(mode(settings.mode)),
        Err(error) => tracing::error!(%error, breaker = breaker.name(), "settings not applied"),
    }
}

pub(super) fn policy(settings: &config::Breaker) -> breaker::Policy {
    let mut policy = breaker::Policy::default();
    policy.window = match settings.window_time {
        Duration::ZERO => Window::Count(settings.window_calls),
        time => Window::Time(time),
    };
    policy.min_calls = settings.min_calls;
    policy.failure_rate = f64::from(settings.failure_rate) / 100.0;
    policy.slow_call = if settings.slow_call.is_zero() { Duration::MAX } else { settings.slow_call };
    policy.slow_rate = f64::from(settings.slow_rate) / 100.0;
    policy.consecutive_failures = Some(settings.failure_threshold).filter(|failures| *failures > 0);
    policy.open_for = settings.recovery_timeout;
    policy.open_max = settings.recovery_max;
    policy.probes = settings.probes;
    policy.probes_to_close = settings.probes_to_close;
    policy.probe_lease = settings.probe_lease;
    policy.cancel_is_failure_after = Some(settings.cancel_is_failure_after).filter(|time| !time.is_zero());
    policy
}

/// A policy as one would write it.
pub(super) fn settings(policy: &breaker::Policy) -> [(&'static str, String); 13] {
    let millis = |time: Duration| time.as_millis().to_string();
    let percent = |rate: f64| format!("{:.0}", rate * 100.0);
    let (calls, time) = match policy.window {
        Window::Count(calls) => (calls, Duration::ZERO),
        Window::Time(time) => (breaker::MAX_WINDOW_CALLS, time),
    };
    let slow_call = if policy.slow_call == Duration::MAX { Duration::ZERO } else { policy.slow_call };
    [
        ("failure_threshold", policy.consecutive_failures.unwrap_or(0).to_string()),
        ("recovery_timeout", millis(policy.open_for)),
        ("recovery_max", millis(policy.open_max)),
        ("window_calls", calls.to_string()),
        ("window_time", millis(time)),
        ("min_calls", policy.min_calls.to_string()),
        ("failure_rate", percent(policy.failure_rate)),
        ("slow_call", millis(slow_call)),
        ("slow_rate", percent(policy.slow_rate)),
        ("probes", policy.probes.to_string()),
        ("probes_to_close", policy.probes_to_close.to_string()),
        ("probe_lease", millis(policy.probe_lease)),
        ("cancel_is_failure_after", millis(policy.cancel_is_failure_after.unwrap_or_default())),
    ]
}

pub(super) fn mode(mode: BreakerMode) -> Mode {
    match mode {
        BreakerMode::Observe => Mode::Observe,
        BreakerMode::ForcedOpen => Mode::ForcedOpen,
        BreakerMode::Disabled => Mode::Disabled,
        _ => Mode::Automatic,
    }
}
