//! What guards the calls to others: breakers and pipelines, by the names that the service declared.

mod breaker;
mod pipeline;

use std::collections::HashMap;

use mainstay_core::breaker::{Breakers, Policy as BreakerPolicy};
use mainstay_core::config::{self, Config};
use mainstay_core::metrics::Metrics;
use mainstay_core::pipeline::{Pipeline, Policy};
use mainstay_core::task::TaskGroup;
use mainstay_core::time::Clock;

/// The names that the service declared.
#[derive(Default)]
pub(crate) struct Declared {
    breakers: Vec<&'static str>,
    pipelines: HashMap<&'static str, Policy>,
}

/// What was declared, as it is configured.
pub(crate) struct Resilience {
    pub(crate) breakers: Breakers,
    pub(crate) pipelines: HashMap<&'static str, Pipeline>,
    declared: Declared,
}

impl Declared {
    /// Makes the settings of a breaker part of the configuration, with those of `policy` as their defaults.
    pub(crate) fn breaker(
        &mut self,
        builder: config::Builder,
        name: &'static str,
        policy: &BreakerPolicy,
    ) -> config::Builder {
        self.breakers.push(name);
        let builder = builder.named_section::<config::Breaker>(name);
        breaker::settings(policy).into_iter().fold(builder, |builder, (field, value)| {
            builder.default_value(format!("breakers.{name}.{field}"), value)
        })
    }

    /// The same of a pipeline. Its breaker has its name.
    pub(crate) fn pipeline(
        &mut self,
        builder: config::Builder,
        name: &'static str,
        policy: &Policy,
    ) -> config::Builder {
        self.pipelines.insert(name, policy.clone());
        let builder = builder.named_section::<config::Pipeline>(name);
        pipeline::settings(policy).into_iter().fold(builder, |builder, (field, value)| {
            builder.default_value(format!("pipelines.{name}.{field}"), value)
        })
    }
}

impl Resilience {
    /// Opens what was declared as it is configured now.
    pub(crate) fn new(declared: Declared, config: &Config, metrics: &Metrics) -> Self {
        const SOUND: &str = "the configuration refuses what is no policy; names are 1 to 64 of [a-z0-9._-]";
        let clock = Clock::system();
        let breakers = Breakers::new(metrics, clock.clone());
        for name in &declared.breakers {
            let settings = config.get_named::<config::Breaker>(name);
            let breaker = breakers.declare(name, breaker::policy(&settings)).expect(SOUND);
            breaker.force(breaker::mode(settings.mode));
        }
        let open = |(name, policy): (&&'static str, &Policy)| {
            let policy = pipeline::policy(&config.get_named(name), policy);
            let breaker = breakers.get(name).expect("it is declared with the pipeline");
            (*name, Pipeline::new(name, policy, breaker, metrics, clock.clone()).expect(SOUND))
        };
        let pipelines = declared.pipelines.iter().map(open).collect();
        Self { breakers, pipelines, declared }
    }

    /// Carries changed settings to them; they keep their windows, permits and places.
    pub(crate) fn follow(&self, tasks: &TaskGroup, config: &Config) {
        for &name in &self.declared.breakers {
            let mut changes = config.watch_named::<config::Breaker>(name);
            let breakers = self.breakers.clone();
            tasks.spawn_until_cancelled("breaker settings", async move {
                while let Some(settings) = changes.changed().await {
                    for breaker in breakers.all().iter().filter(|breaker| belongs(breaker.name(), name)) {
                        breaker::configure(breaker, &settings);
                    }
                }
            });
        }
        for (name, pipeline) in &self.pipelines {
            let mut changes = config.watch_named::<config::Pipeline>(name);
            let (pipeline, declared) = (pipeline.clone(), self.declared.pipelines[name].clone());
            tasks.spawn_until_cancelled("pipeline settings", async move {
                while let Some(settings) = changes.changed().await {
                    pipeline::configure(&pipeline, &settings, &declared);
                }
            });
        }
    }
}

/// Whether a breaker is that of this name, or of one of its endpoints: `billing.2`.
fn belongs(breaker: &str, name: &str) -> bool {
    let rest = breaker.strip_prefix(name);
    let endpoint = |rest: &str| rest.strip_prefix('.').is_some_and(|number| number.parse::<u32>().is_ok());
    rest.is_some_and(|rest| rest.is_empty() || endpoint(rest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mainstay_core::breaker::Window;
    use mainstay_core::pipeline::Limit;
    use mainstay_core::{adaptive, hedge};

    use super::*;

    fn read(declare: impl FnOnce(&mut Declared, config::Builder) -> config::Builder) -> Config {
        let builder = declare(&mut Declared::default(), Config::builder().no_files());
        builder.env_vars([("", ""); 0]).load().unwrap()
    }

    #[test]
    fn a_breaker_policy_written_as_settings_and_read_again_is_the_same() {
        let mut slow = BreakerPolicy::default();
        slow.window = Window::Time(Duration::from_secs(30));
        slow.slow_call = Duration::from_millis(250);
        slow.slow_rate = 0.25;
        slow.cancel_is_failure_after = Some(Duration::from_secs(2));
        let simple = BreakerPolicy::consecutive(7, Duration::from_secs(10));
        for policy in [BreakerPolicy::default(), simple, slow] {
            let config = read(|declared, builder| declared.breaker(builder, "billing", &policy));
            assert_eq!(breaker::policy(&config.get_named("billing")), policy);
        }
    }

    #[test]
    fn a_pipeline_policy_written_as_settings_and_read_again_is_the_same() {
        let mut other = Policy::default();
        other.deadline = Duration::from_secs(1);
        other.attempt_timeout = Duration::from_millis(300);
        other.retry.attempts = 1;
        other.budget.ratio = 0.05;
        // Of these there are no settings.
        (other.budget.burst, other.budget.per_second) = (2.0, 0.0);
        other.retry.max_retry_after = Duration::ZERO;
        let mut hedge = hedge::Policy::default();
        hedge.min_delay = Duration::from_millis(20);
        other.hedge = Some(hedge);
        let mut limit = adaptive::Policy::default();
        (limit.min, limit.tolerance) = (1, 2.0);
        other.limit = Limit::Adaptive(limit);
        for policy in [Policy::default(), other] {
            let config = read(|declared, builder| declared.pipeline(builder, "billing", &policy));
            let read = pipeline::policy(&config.get_named("billing"), &policy);
            assert_eq!(format!("{read:?}"), format!("{policy:?}"));
        }
    }
}
