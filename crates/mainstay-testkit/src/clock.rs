//! A clock that a test holds in its hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mainstay_core::time::{Clock, Moment, Source, micros};
use tokio::time::Instant;

/// The calendar's time at the beginning of every test: 2026-01-01T00:00:00Z.
const BEGINNING: i64 = 1_767_225_600_000_000;

/// A clock that follows tokio's, which a test pauses and advances, and that can leap without it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use mainstay_testkit::TestClock;
/// use std::time::Duration;
///
/// let time = TestClock::new();
/// let clock = time.clock();
/// let before = clock.now();
/// time.suspend(Duration::from_secs(60)); // no timer fires, and yet a minute has passed
/// assert!(clock.now().saturating_since(before) >= Duration::from_secs(60));
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct TestClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    suspended: AtomicU64,
    wall_offset: AtomicI64,
}

impl TestClock {
    /// A clock that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            suspended: AtomicU64::new(0),
            wall_offset: AtomicI64::new(0),
        }))
    }

    /// What is handed to the code under test.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::of(Arc::clone(&self.0) as Arc<dyn Source>)
    }

    /// The machine sleeps: both clocks go on, no timer of tokio's does.
    pub fn suspend(&self, time: Duration) {
        self.0.suspended.fetch_add(micros(time), Ordering::SeqCst);
    }

    /// Somebody sets the calendar's clock forward or back; the other one does not notice.
    pub fn step_wall(&self, by: SignedDuration) {
        let by = i64::try_from(by.as_micros()).expect("a step of less than 292,000 years");
        self.0.wall_offset.fetch_add(by, Ordering::SeqCst);
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Source for Inner {
    fn now(&self) -> Moment {
        let suspended = Duration::from_micros(self.suspended.load(Ordering::SeqCst));
        // Begins away from zero, so that a test can look back.
        Moment::from_micros(3_600_000_000) + self.started.elapsed() + suspended
    }

    fn wall(&self) -> Timestamp {
        let passed = self.now().as_micros().cast_signed();
        let micros = BEGINNING + passed + self.wall_offset.load(Ordering::SeqCst);
        Timestamp::from_microsecond(micros).expect("a test stays within the calendar")
    }
}
