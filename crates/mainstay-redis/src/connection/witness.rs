//! How long what was read can be kept without asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use mainstay_core::time::Moment;

/// Says whether a connection is still the one that something was read over, and was heard from lately.
///
/// An answer on it proves that everything the server said before has been read. So whoever keeps what was read, drops
/// what the server says has changed, and asks the witness before each use, is never later than the time between the
/// question to which the last answer came and its expiry: 3 s.
///
/// Take it before the question whose answer is to be kept.
#[derive(Debug, Clone)]
pub struct Witness {
    beat: Arc<Beat>,
    generation: u64,
    era: Option<Era>,
}

/// The time in which a slot stays with one server.
#[derive(Debug, Clone)]
struct Era {
    /// Of each slot.
    now: Arc<[AtomicU32]>,
    slot: u16,
    then: u32,
}

/// The sign of life of one connection. Written under the lock of its link.
#[derive(Debug, Default)]
pub(crate) struct Beat {
    /// Which connection this is; counts up with each attempt to make one, and with each loss.
    generation: AtomicU64,
    /// Microseconds of the [`Moment`] until which the last answer counts; zero while there is no connection.
    until: AtomicU64,
}

impl Witness {
    /// The same for what lies in this slot, as long as its era is the present one.
    pub(crate) fn within(self, eras: Arc<[AtomicU32]>, slot: u16, era: u32) -> Self {
        Self { era: Some(Era { now: eras, slot, then: era }), ..self }
    }

    /// Whether the connection is the same, and was heard from, and the key is still at its server.
    #[must_use]
    #[inline]
    pub fn holds(&self, now: Moment) -> bool {
        // In this order: if the generation is still ours after it was read, so is the moment.
        let until = self.beat.until.load(Ordering::Acquire);
        now.as_micros() < until
            && self.beat.generation.load(Ordering::Acquire) == self.generation
            && self.era.as_ref().is_none_or(Era::is_now)
    }
}

impl Era {
    fn is_now(&self) -> bool {
        let now = self.now.get(usize::from(self.slot));
        now.is_some_and(|now| now.load(Ordering::Acquire) == self.then)
    }
}

impl Beat {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn extend(&self, until: Moment) {
        self.until.store(until.as_micros(), Ordering::Release);
    }

    /// From now on no witness that was given out holds.
    pub(crate) fn next(&self) -> u64 {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.until.store(0, Ordering::Release);
        generation
    }

    pub(crate) fn witness(self: &Arc<Self>) -> Option<Witness> {
        let generation = self.generation();
        let up = self.until.load(Ordering::Acquire) != 0;
        up.then(|| Witness { beat: Arc::clone(self), generation, era: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_holds_for_its_own_connection_until_the_last_answer_is_too_old() {
        let at = Moment::from_micros;
        let beat = Arc::new(Beat::default());
        beat.next();
        assert!(beat.witness().is_none());
        beat.extend(at(10));
        let witness = beat.witness().unwrap();
        assert!(witness.holds(at(9)));
        assert!(!witness.holds(at(10)));
        beat.extend(at(20));
        assert!(witness.holds(at(10)));
        beat.next();
        assert!(beat.witness().is_none());
        beat.extend(at(30));
        assert!(!witness.holds(at(20)), "another connection");
    }
}
