use std::time::Duration;

use mainstay_core::breaker::{self, Breaker, Breakers, Mode, Window};
use mainstay_core::config::{self, BreakerMode, Config};
use mainstay_core::task::TaskGroup;

/// The names that the service declared, in the order in which it did.
#[derive(Default)]
pub(crate) struct Declared {
    breakers: Vec<&'static str>,
}

impl Declared {
    /// Makes the settings of a breaker part of the configuration, with those of `policy` as their defaults.
    pub(crate) fn breaker(
        &mut self,
        mut builder: config::Builder,
        name: &'static str,
        policy: &breaker::Policy,
    ) -> config::Builder {
        self.breakers.push(name);
        builder = builder.named_section::<config::Breaker>(name);
        for (field, value) in settings(policy) {
            builder = builder.default_value(format!("breakers.{name}.{field}"), value);
        }
        builder
    }

    /// The breakers as they are configured.
    pub(crate) fn open(&self, config: &Config, breakers: &Breakers) {
        for name in &self.breakers {
            let settings = config.get_named::<config::Breaker>(name);
            let breaker = breakers.declare(name, policy(&settings));
            let breaker =
                breaker.expect("the configuration refuses what is no policy, and the builder names");
            breaker.force(mode(settings.mode));
        }
    }

    /// Carries changed settings to them, which keep their windows.
    pub(crate) fn follow(&self, tasks: &TaskGroup, config: &Config, breakers: &Breakers) {
        for name in &self.breakers {
            let mut changes = config.watch_named::<config::Breaker>(name);
            let breaker = breakers.get(name).expect("it was declared");
            tasks.spawn_until_cancelled("breaker settings", async move {
                while let Some(settings) = changes.changed().await {
                    configure(&breaker, &settings);
                }
            });
        }
    }
}

fn configure(breaker: &Breaker, settings: &config::Breaker) {
    match breaker.configure(policy(settings)) {
        Ok(()) => breaker.force(mode(settings.mode)),
        Err(error) => tracing::error!(%error, breaker = breaker.name(), "settings not applied"),
    }
}

fn policy(settings: &config::Breaker) -> breaker::Policy {
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
fn settings(policy: &breaker::Policy) -> [(&'static str, String); 13] {
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

fn mode(mode: BreakerMode) -> Mode {
    match mode {
        BreakerMode::Observe => Mode::Observe,
        BreakerMode::ForcedOpen => Mode::ForcedOpen,
        BreakerMode::Disabled => Mode::Disabled,
        _ => Mode::Automatic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_written_as_settings_and_read_again_is_the_same() {
        let mut slow = breaker::Policy::default();
        slow.window = Window::Time(Duration::from_secs(30));
        slow.slow_call = Duration::from_millis(250);
        slow.slow_rate = 0.25;
        slow.cancel_is_failure_after = Some(Duration::from_secs(2));
        let simple = breaker::Policy::consecutive(7, Duration::from_secs(10));
        for policy in [breaker::Policy::default(), simple, slow] {
            let mut declared = Declared::default();
            let builder = declared.breaker(Config::builder().no_files(), "billing", &policy);
            let config = builder.env_vars([("", ""); 0]).load().unwrap();
            assert_eq!(super::policy(&config.get_named("billing")), policy);
        }
    }
}
