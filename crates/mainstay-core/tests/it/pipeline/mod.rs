//! The order in which the parts of a pipeline work, and what a caller is told.

mod calls;
mod limits;
mod settings;

use std::cell::Cell;
use std::time::Duration;

use mainstay_core::breaker::{self, Breaker};
use mainstay_core::bulkhead;
use mainstay_core::metrics::Metrics;
use mainstay_core::pipeline::{Judgement, Limit, Outcome, Pipeline, Policy};
use mainstay_core::time::Clock;

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What calls answer: `Ok(503)` counts as a failure.
type Answer = Result<u16, &'static str>;

#[expect(clippy::needless_pass_by_value, reason = "as the trait has it")]
fn classify(outcome: Outcome<'_, u16, &'static str>) -> Judgement {
    match outcome {
        Outcome::Done(503) | Outcome::TimedOut => Judgement::TRANSIENT,
        Outcome::Done(429) => Judgement::busy(Duration::from_secs(2)),
        Outcome::Failed(&"no") => Judgement::REFUSED,
        Outcome::Failed(&"broken") => Judgement::FATAL,
        Outcome::Failed(_) => Judgement::TRANSIENT,
        Outcome::Done(_) => Judgement::SUCCESS,
    }
}

/// Retries without a pause, and 20 calls at a time.
fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.retry.first = Duration::ZERO;
    policy.retry.max = Duration::ZERO;
    let mut limit = bulkhead::Policy::default();
    limit.max_concurrent = 20;
    policy.limit = Limit::Fixed(limit);
    policy
}

struct Fixture {
    pipeline: Pipeline,
    metrics: Metrics,
    /// How many attempts were made.
    made: Cell<u32>,
}

fn fixture(policy: Policy) -> Fixture {
    guarded(policy, breaker::Policy::default())
}

fn guarded(policy: Policy, guard: breaker::Policy) -> Fixture {
    let (metrics, clock) = (Metrics::new(), Clock::system());
    let breaker = Breaker::new("prices", guard, &metrics, clock.clone()).unwrap();
    let pipeline = Pipeline::new("prices", policy, breaker, &metrics, clock).unwrap();
    Fixture { pipeline, metrics, made: Cell::new(0) }
}

impl Fixture {
    /// Calls; the n-th attempt answers the n-th of these, and those after the last one the last.
    async fn call(&self, answers: &[Answer]) -> Result<u16, mainstay_core::pipeline::Error<&'static str>> {
        self.pipeline
            .call(classify, |attempt| {
                self.made.set(self.made.get() + 1);
                let answer = answers[answers.len().min(attempt.number as usize) - 1];
                async move { answer }
            })
            .await
    }

    fn ended(&self, outcome: &str) -> u64 {
        let labels = [("name", "prices"), ("outcome", outcome)];
        self.metrics.counter("pipeline_calls_total").with(&labels).get()
    }
}
