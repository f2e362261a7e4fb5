//! `mainstay_core::breaker`.

mod calls;
mod control;
mod drops;
mod history;
mod peer;
mod probes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_core::breaker::{Breaker, Policy, Window};
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::time::{Clock, Moment, Source};

/// A clock in the test's hand.
#[derive(Debug, Clone)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn advance(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
    }

    fn micros(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Source for Hand {
    fn now(&self) -> Moment {
        Moment::from_micros(self.micros())
    }

    fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

/// A breaker on a clock that stands still.
struct Rig {
    breaker: Breaker,
    hand: Hand,
    metrics: Metrics,
}

impl Rig {
    fn new(policy: Policy) -> Self {
        let hand = Hand(Arc::new(AtomicU64::new(1_000_000_000)));
        let metrics = Metrics::new();
        let clock = Clock::of(Arc::new(hand.clone()));
        Self { breaker: Breaker::new("it", policy, &metrics, clock).unwrap(), hand, metrics }
    }

    /// `calls` in a row that all end at once, with the same result.
    fn calls(&self, calls: usize, success: bool) {
        for _ in 0..calls {
            let permit = self.breaker.try_acquire().unwrap();
            if success { permit.success() } else { permit.failure() }
        }
    }

    /// Until the open time is over.
    fn wait(&self) {
        self.hand.advance(self.breaker.snapshot().retry_after);
    }

    fn count(&self, outcome: &str) -> u64 {
        self.metrics.counter("breaker_calls_total").with(&[("name", "it"), ("outcome", outcome)]).get()
    }

    fn late(&self) -> u64 {
        self.metrics.counter("breaker_late_outcomes_total").with(&[("name", "it")]).get()
    }

    fn renders(&self, line: &str) -> bool {
        self.metrics.render(Format::Prometheus).lines().any(|other| other == line)
    }
}

/// The last `calls`, judged from the first one on.
fn last(calls: u32) -> Policy {
    let mut policy = Policy::default();
    policy.window = Window::Count(calls);
    policy.min_calls = 1;
    policy
}

/// How often a random test repeats, times `MAINSTAY_ROUNDS`.
fn rounds(base: usize) -> usize {
    std::env::var("MAINSTAY_ROUNDS").map_or(base, |times| base * times.parse::<usize>().expect("a number"))
}
