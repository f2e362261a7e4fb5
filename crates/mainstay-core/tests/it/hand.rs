//! A clock that is moved by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_core::time::{Clock, Moment, Source, micros};

#[derive(Debug, Clone)]
pub(crate) struct Hand(Arc<Micros>);

#[derive(Debug)]
struct Micros(AtomicU64);

impl Hand {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Micros(AtomicU64::new(3_600_000_000))))
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock::of(Arc::<Micros>::clone(&self.0))
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.0.0.fetch_add(micros(time), Ordering::SeqCst);
    }

    pub(crate) fn set(&self, moment: Moment) {
        self.0.0.store(moment.as_micros(), Ordering::SeqCst);
    }
}

impl Source for Micros {
    fn now(&self) -> Moment {
        Moment::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}
