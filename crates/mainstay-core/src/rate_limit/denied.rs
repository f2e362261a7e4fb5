//! Refusals of a far store: asking again before their time is over would change nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::named::{Map, Query, Random};
use super::store::{Debit, Verdict};
use crate::time::{Clock, Moment};

/// Most refusals that are remembered.
const MAX_KEYS: usize = 10_000;

/// How often those that are over are looked for, in microseconds, when there is no room.
const PATIENCE: u64 = 100_000;

/// The latest refusal of each key under a policy, until its time is over.
///
/// A key that does not fit now does not fit until enough of what was charged before has left: others can only add to
/// that. Only a refund takes from it. One that goes through this process is noticed; one of another process is
/// not, and the key stays refused here for as long as it was told to wait.
#[derive(Debug)]
pub(super) struct Denied {
    clock: Clock,
    random: Random,
    keys: Map<Denial>,
    max_keys: usize,
    /// Whether there ever was one: a limiter whose store is near has none, and looks no further.
    used: AtomicBool,
    /// Refunds that came to an end.
    refunds: AtomicU64,
    swept: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Denial {
    /// Only this cost is known not to fit and how long it has to wait.
    cost: u32,
    remaining: u32,
    /// The store certainly refuses until then: the wait, counted from when it was asked.
    until: Moment,
    /// It certainly admits from then on: the wait, counted from its answer.
    fits_at: Moment,
    empty_at: Moment,
}

/// When a store that has to be waited for was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    at: Moment,
    refunds: Refunds,
}

/// How many refunds had ended. Taken before the store is asked, which may decide before we know that it is far: a
/// refund that its answer does not know of must not have been counted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refunds(u64);

impl Denied {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            random: Random::default(),
            keys: Map::default(),
            max_keys: MAX_KEYS,
            used: AtomicBool::new(false),
            refunds: AtomicU64::new(0),
            swept: AtomicU64::new(0),
        }
    }

    /// The verdict on a charge by itself, if it is certain.
    #[inline]
    pub(super) fn verdict(&self, debit: &Debit<'_>) -> Option<Verdict> {
        if self.used.load(Ordering::Relaxed) { self.remembered(debit) } else { None }
    }

    fn remembered(&self, debit: &Debit<'_>) -> Option<Verdict> {
        let denial = *self.keys.pin().get(&Query::new(&self.random, debit))?;
        let now = self.clock.now();
        (denial.cost == debit.cost && now < denial.until).then(|| Verdict {
            fits: false,
            remaining: denial.remaining,
            retry_after: Some(denial.fits_at.saturating_since(now)),
            reset_after: denial.empty_at.saturating_since(now),
            receipt: None,
        })
    }

    #[inline]
    pub(super) fn refunds(&self) -> Refunds {
        Refunds(self.refunds.load(Ordering::SeqCst))
    }

    pub(super) fn asked(&self, refunds: Refunds) -> Asked {
        Asked { refunds, at: self.clock.now() }
    }

    /// Remembers a refusal of one charge by itself.
    pub(super) fn learn(&self, debit: &Debit<'_>, verdict: &Verdict, asked: Asked) {
        let (false, Some(wait)) = (verdict.fits, verdict.retry_after) else { return };
        let (now, query) = (self.clock.now(), Query::new(&self.random, debit));
        let keys = self.keys.pin();
        if keys.get(&query).is_none() && !self.has_room(now) {
            return;
        }
        let denial = Denial {
            cost: debit.cost,
            remaining: verdict.remaining,
            until: asked.at + wait,
            fits_at: now + wait,
            empty_at: now + verdict.reset_after.max(wait),
        };
        keys.insert(query.owned(), denial);
        self.used.store(true, Ordering::Relaxed);
        // A refund that came in between may have made room.
        if self.refunds() != asked.refunds {
            keys.remove(&query);
        }
    }

    /// Forgets what it knows of this key when dropped: whenever, and however, a refund has ended.
    pub(super) fn refunding<'a>(&'a self, debit: &'a Debit<'a>) -> Refunding<'a> {
        Refunding { denied: self, debit }
    }

    fn has_room(&self, now: Moment) -> bool {
        if self.keys.len() < self.max_keys {
            return true;
        }
        let swept = self.swept.load(Ordering::Relaxed);
        let due = now.saturating_since(Moment::from_micros(swept)) >= Duration::from_micros(PATIENCE);
        if due && self.swept.swap(now.as_micros(), Ordering::Relaxed) == swept {
            self.keys.pin().retain(|_, denial| now < denial.until);
        }
        self.keys.len() < self.max_keys
    }
}

/// A refund under way.
#[derive(Debug)]
pub(super) struct Refunding<'a> {
    denied: &'a Denied,
    debit: &'a Debit<'a>,
}

impl Drop for Refunding<'_> {
    fn drop(&mut self) {
        // In this order: whoever learns of a refusal meanwhile sees the one or loses it to the other.
        self.denied.refunds.fetch_add(1, Ordering::SeqCst);
        self.denied.keys.pin().remove(&Query::new(&self.denied.random, self.debit));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::key::Key;
    use crate::rate_limit::quota::Quota;
    use crate::time::{Source, micros};

    const WAIT: Duration = Duration::from_secs(10);

    /// A clock that is moved by hand.
    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Source for Hand {
        fn now(&self) -> Moment {
            Moment::from_micros(self.0.load(Ordering::Relaxed))
        }

        fn wall(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }
    }

    fn denied() -> (Denied, Arc<Hand>) {
        let time = Arc::new(Hand(AtomicU64::new(1_000_000)));
        (Denied { max_keys: 100, ..Denied::new(Clock::of(Arc::<Hand>::clone(&time))) }, time)
    }

    fn refused(denied: &Denied, name: &str) -> bool {
        let debit =
            Debit { key: Key::new(name).unwrap(), policy: Quota::per_minute(1).policy().unwrap(), cost: 1 };
        if denied.verdict(&debit).is_some() {
            return true;
        }
        let verdict =
            Verdict { fits: false, remaining: 0, retry_after: Some(WAIT), reset_after: WAIT, receipt: None };
        denied.learn(&debit, &verdict, denied.asked(denied.refunds()));
        false
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for_until_it_is_over() {
        let (denied, time) = denied();
        for key in 0..1_000 {
            refused(&denied, &format!("{key}"));
        }
        assert_eq!(denied.keys.len(), 100);
        assert!(refused(&denied, "7") && !refused(&denied, "777"));
        time.0.fetch_add(micros(WAIT), Ordering::Relaxed);
        assert!(!refused(&denied, "777"));
        assert!(refused(&denied, "777"), "the others are over");
        assert!(!refused(&denied, "7"));
    }
}
