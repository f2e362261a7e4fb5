use std::sync::Arc;

use mainstay_core::breaker::{self, Breaker};
use mainstay_core::metrics::Metrics;
use mainstay_core::pipeline::{Limit, Pipeline, Policy};
use mainstay_core::time::Clock;
use mainstay_core::{adaptive, bulkhead};
use tokio::sync::Notify;

use super::{classify, fixture, millis, policy};

#[test]
fn a_policy_that_cannot_be_is_refused_by_part_and_field() {
    let refused = |change: fn(&mut Policy)| {
        let mut policy = Policy::default();
        change(&mut policy);
        policy.check().unwrap_err().to_string()
    };
    assert_eq!(refused(|policy| policy.deadline = millis(0)), "pipeline deadline must be above 0");
    let longer = refused(|policy| policy.attempt_timeout = millis(60_000));
    assert_eq!(longer, "pipeline attempt_timeout must not be above deadline");
    assert!(refused(|policy| policy.retry.attempts = 0).starts_with("retry attempts"));
    assert!(refused(|policy| policy.budget.ratio = -1.0).starts_with("budget ratio"));
}

#[test]
fn a_name_that_cannot_be_is_refused() {
    let metrics = Metrics::new();
    let breaker = Breaker::new("a", breaker::Policy::default(), &metrics, Clock::system()).unwrap();
    let named = Pipeline::new("Not a name", policy(), breaker, &metrics, Clock::system());
    assert_eq!(named.unwrap_err().field, "name");
}

#[tokio::test]
async fn a_policy_changes_while_a_thousand_calls_are_under_way_and_nothing_is_lost() {
    let mut wide = policy();
    let mut limit = bulkhead::Policy::default();
    limit.max_concurrent = 1_000;
    wide.limit = Limit::Fixed(limit.clone());
    let fixture = fixture(wide.clone());
    let gate = Arc::new(Notify::new());
    let calls: Vec<_> = (0..1_000)
        .map(|_| {
            let (pipeline, gate) = (fixture.pipeline.clone(), Arc::clone(&gate));
            tokio::spawn(async move {
                pipeline
                    .call(classify, |_| {
                        let gate = Arc::clone(&gate);
                        async move {
                            gate.notified().await;
                            Ok(200)
                        }
                    })
                    .await
            })
        })
        .collect();
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    limit.max_concurrent = 10;
    wide.limit = Limit::Fixed(limit);
    let mut guard = breaker::Policy::default();
    guard.window = breaker::Window::Count(500);
    fixture.pipeline.configure(wide).unwrap();
    fixture.pipeline.breaker().configure(guard).unwrap();
    gate.notify_waiters();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 200);
    }
    let window = fixture.pipeline.breaker().snapshot();
    assert_eq!((window.calls, window.failures), (500, 0), "the window holds the last 500 of 1,000");
    assert_eq!(fixture.call(&[Ok(200)]).await.unwrap(), 200);
}

#[test]
fn a_limit_of_another_kind_needs_another_pipeline_and_changes_nothing() {
    let fixture = fixture(policy());
    let mut other = policy();
    other.deadline = millis(60_000);
    other.limit = Limit::Adaptive(adaptive::Policy::default());
    assert_eq!(fixture.pipeline.configure(other).unwrap_err().field, "limit");
    assert_eq!(fixture.pipeline.policy().deadline, Policy::default().deadline);
}
