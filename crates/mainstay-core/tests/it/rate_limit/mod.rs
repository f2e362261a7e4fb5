//! `mainstay_core::rate_limit`.

mod checks;
mod contract;
mod denied;
mod keys;
mod outage;
mod threads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::metrics::Metrics;
use mainstay_core::rate_limit::{Options, RateLimiter};
use mainstay_core::time::{Clock, Moment, Source};

/// A clock in the test's hand, which can be set to any time.
#[derive(Debug, Clone)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000_000)))
    }

    fn clock(&self) -> Clock {
        Clock::of(Arc::new(self.clone()))
    }

    fn advance(&self, micros: u64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }

    fn step_back(&self, micros: u64) {
        self.0.fetch_sub(micros, Ordering::SeqCst);
    }

    fn limiter(&self, options: Options) -> RateLimiter {
        RateLimiter::in_memory(options, &Metrics::new(), self.clock())
    }
}

impl Source for Hand {
    fn now(&self) -> Moment {
        Moment::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

/// The store in memory always answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("an answer at once")
}

/// When something was certainly begun and certainly over, and what it was charged.
type Admission = (Moment, Moment, u32);

/// The most that certainly lies within one window.
fn most_within(window: Duration, mut admissions: Vec<Admission>) -> u32 {
    admissions.sort();
    let within = |(index, (begin, ..)): (usize, &Admission)| {
        let later =
            admissions[index..].iter().take_while(|(begun, ..)| begun.saturating_since(*begin) < window);
        later.filter(|(_, end, _)| end.saturating_since(*begin) < window).map(|(.., cost)| cost).sum()
    };
    admissions.iter().enumerate().map(within).max().unwrap_or(0)
}
