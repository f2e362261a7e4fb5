//! How long what was read can be kept without asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_core::time::Moment;

/// Says whether a connection is still the one that something was read over, and was heard from lately.
///
/// An answer on it proves that everything the server said before has been read. So whoever keeps what was read, drops
/// what the server says has changed, and asks the witness before each use, is never later than the time between the
/// question to which the last answer came and its expiry: 3 s.
#[derive(Debug, Clone)]
pub struct Witness {
    beat: Arc<Beat>,
    generation: u64,
}

/// The sign of life of one connection.
#[derive(Debug, Default)]
pub(crate) struct Beat {
    /// Which connection this is; counts up with each.
    generation: AtomicU64,
    /// Microseconds of the [`Moment`] until which the last answer counts; zero while there is no connection.
    until: AtomicU64,
}

impl Witness {
    /// Whether the connection is the same, and was heard from.
    #[must_use]
    #[inline]
    pub fn holds(&self, now: Moment) -> bool {
        self.beat.generation.load(Ordering::Acquire) == self.generation
            && now.as_micros() < self.beat.until.load(Ordering::Acquire)
    }
}

impl Beat {
    pub(crate) fn begin(&self, until: Moment) {
        self.until.store(until.as_micros(), Ordering::Release);
    }

    /// The connection is lost: from now on no witness of it holds.
    pub(crate) fn end(&self) {
        self.until.store(0, Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn witness(self: &Arc<Self>) -> Option<Witness> {
        let generation = self.generation.load(Ordering::Acquire);
        let up = self.until.load(Ordering::Acquire) != 0;
        up.then(|| Witness { beat: Arc::clone(self), generation })
    }
}
