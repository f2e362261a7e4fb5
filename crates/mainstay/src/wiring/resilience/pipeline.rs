//! Pipelines by their settings.

use std::time::Duration;

use mainstay_core::config::{self, Concurrency};
use mainstay_core::pipeline::{Limit, Pipeline, Policy};
use mainstay_core::{adaptive, bulkhead};

pub(super) fn configure(pipeline: &Pipeline, settings: &config::Pipeline, declared: &Policy) {
    if let Err(error) = pipeline.configure(policy(settings, declared)) {
        tracing::error!(%error, pipeline = pipeline.name(), "settings not applied");
    }
}

/// What there are no settings for stays as it was declared.
pub(super) fn policy(settings: &config::Pipeline, declared: &Policy) -> Policy {
    let mut policy = declared.clone();
    policy.deadline = settings.deadline;
    policy.attempt_timeout = settings.attempt_timeout;
    policy.retry.attempts = settings.attempts;
    policy.retry.first = settings.backoff;
    policy.retry.max = settings.backoff_max;
    policy.budget.ratio = f64::from(settings.retry_budget) / 100.0;
    policy.limit = match settings.concurrency {
        Concurrency::Adaptive => {
            let mut limit = match &declared.limit {
                Limit::Adaptive(limit) => limit.clone(),
                Limit::Fixed(_) => adaptive::Policy::default(),
            };
            limit.max = settings.max_concurrent;
            limit.min = limit.min.min(limit.max);
            limit.initial = limit.initial.min(limit.max);
            Limit::Adaptive(limit)
        }
        _ => {
            let mut limit = bulkhead::Policy::default();
            limit.max_concurrent = settings.max_concurrent;
            limit.max_waiting = settings.max_waiting;
            limit.max_wait = settings.max_wait;
            Limit::Fixed(limit)
        }
    };
    policy.hedge = (settings.hedge > 0).then(|| {
        let mut hedge = declared.hedge.clone().unwrap_or_default();
        hedge.percentile = f64::from(settings.hedge) / 100.0;
        hedge
    });
    policy
}

/// A policy as one would write it.
pub(super) fn settings(policy: &Policy) -> Vec<(&'static str, String)> {
    let millis = |time: Duration| time.as_millis().to_string();
    let percent = |rate: f64| format!("{:.0}", rate * 100.0);
    let mut settings = vec![
        ("deadline", millis(policy.deadline)),
        ("attempt_timeout", millis(policy.attempt_timeout)),
        ("attempts", policy.retry.attempts.to_string()),
        ("backoff", millis(policy.retry.first)),
        ("backoff_max", millis(policy.retry.max)),
        ("retry_budget", percent(policy.budget.ratio)),
        ("hedge", policy.hedge.as_ref().map_or("0".to_owned(), |hedge| percent(hedge.percentile))),
    ];
    settings.extend(match &policy.limit {
        Limit::Fixed(limit) => vec![
            ("concurrency", "fixed".to_owned()),
            ("max_concurrent", limit.max_concurrent.to_string()),
            ("max_waiting", limit.max_waiting.to_string()),
            ("max_wait", millis(limit.max_wait)),
        ],
        Limit::Adaptive(limit) => {
            vec![("concurrency", "adaptive".to_owned()), ("max_concurrent", limit.max.to_string())]
        }
    });
    settings
}
