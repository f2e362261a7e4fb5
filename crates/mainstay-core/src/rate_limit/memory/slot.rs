//! The state of one key, and the two shortcuts around its lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::rate_limit::meter::State;
use crate::rate_limit::policy::Rule;
use crate::rate_limit::store::{Debit, Mode, Receipt, Verdict};
use crate::rate_limit::window::Counts;
use crate::time::{Clock, Moment};

/// A key's state behind a lock, with what callers may do without it:
///
/// - *Refuse.* A key that is full stays full until its oldest charge leaves, whoever asks: only a refund,
///   which takes the lock, could change that. Until then one read refuses.
/// - *Admit.* Whoever leaves the lock puts all that still fits into the current bucket into `grant`, where
///   callers take it by compare-and-swap. Whoever takes the lock takes the grant back first, so that
///   under the lock the state is whole, and nothing is admitted that the state does not count.
#[derive(Debug)]
pub(super) struct Slot {
    grant: AtomicU64,
    full_until: AtomicU64,
    empty_at: AtomicU64,
    cold: Mutex<Cold>,
}

#[derive(Debug)]
struct Cold {
    state: State,
    /// What was put into `grant`.
    granted: u32,
    /// Taken out of the map: whoever still holds the slot looks the key up again.
    retired: bool,
}

/// Low bits of a grant: what is left. The bits above are its bucket.
const LEFT_BITS: u32 = 24;

/// A bucket must be this wide for its number to fit beside the rest for 34 years of uptime.
const MIN_WIDTH: u64 = 1_000;

impl Slot {
    pub(super) fn new(state: State) -> Self {
        Self {
            grant: AtomicU64::new(0),
            full_until: AtomicU64::new(0),
            empty_at: AtomicU64::new(0),
            cold: Mutex::new(Cold { state, granted: 0, retired: false }),
        }
    }

    /// Decides over this key alone; `None` if the slot is retired.
    #[inline]
    pub(super) fn decide(&self, debit: &Debit<'_>, mode: Mode, clock: &Clock) -> Option<Verdict> {
        // Read only now: the state's own past must not lie ahead of it.
        let now = clock.now();
        if mode == Mode::Take
            && let Some(verdict) = self.refuse_fast(now, debit.cost).or_else(|| self.admit_fast(debit, now))
        {
            return Some(verdict);
        }
        let mut locked = self.lock()?;
        let state = locked.state(now);
        let verdict = state.judge(now, debit.cost, 0);
        Some(if mode == Mode::Take && verdict.fits { state.charge(now, debit.cost) } else { verdict })
    }

    #[inline]
    fn admit_fast(&self, debit: &Debit<'_>, now: Moment) -> Option<Verdict> {
        let (Rule::Window(rule), cost) = (debit.policy.rule(), debit.cost) else { return None };
        let mut grant = self.grant.load(Ordering::Acquire);
        loop {
            let (newest, left) = (grant >> LEFT_BITS, grant & ((1 << LEFT_BITS) - 1));
            // A clock behind the newest bucket charges the newest.
            if cost == 0 || u64::from(cost) > left || !rule.reaches(newest, now) {
                return None;
            }
            let rest = grant - u64::from(cost);
            match self.grant.compare_exchange_weak(grant, rest, Ordering::AcqRel, Ordering::Acquire) {
                Err(current) => grant = current,
                Ok(_) => {
                    return Some(Verdict {
                        fits: true,
                        remaining: u32::try_from(left).unwrap_or(u32::MAX) - cost,
                        retry_after: None,
                        reset_after: rule.leaves(newest).saturating_since(now),
                        receipt: Some(Receipt { cost, mark: newest, life: 0 }),
                    });
                }
            }
        }
    }

    #[inline]
    fn refuse_fast(&self, now: Moment, cost: u32) -> Option<Verdict> {
        let full_until = Moment::from_micros(self.full_until.load(Ordering::Acquire));
        // More than one may have to wait longer.
        if cost != 1 || now >= full_until {
            return None;
        }
        let empty_at = Moment::from_micros(self.empty_at.load(Ordering::Relaxed)).max(full_until);
        Some(Verdict {
            fits: false,
            remaining: 0,
            retry_after: Some(full_until.saturating_since(now)),
            reset_after: empty_at.saturating_since(now),
            receipt: None,
        })
    }

    /// The whole state; `None` if the slot is retired.
    pub(super) fn lock(&self) -> Option<Locked<'_>> {
        let mut cold = self.cold.lock().unwrap_or_else(PoisonError::into_inner);
        if cold.retired {
            return None;
        }
        let left = self.grant.swap(0, Ordering::AcqRel) & ((1 << LEFT_BITS) - 1);
        let granted = std::mem::take(&mut cold.granted);
        if let State::Window(counts) = &mut cold.state {
            counts.add(granted - u32::try_from(left).unwrap_or(0));
        }
        Some(Locked { slot: self, cold, now: Moment::default() })
    }

    /// Retires the slot if forgetting it changes nothing.
    pub(super) fn retire(&self, now: Moment) -> bool {
        let Some(mut locked) = self.lock() else { return true };
        let idle = locked.state(now).is_idle(now);
        locked.cold.retired = idle;
        idle
    }
}

/// A slot's whole state. Dropping it opens the shortcuts again.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    slot: &'a Slot,
    cold: MutexGuard<'a, Cold>,
    now: Moment,
}

impl Locked<'_> {
    pub(super) fn state(&mut self, now: Moment) -> &mut State {
        self.now = now;
        &mut self.cold.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let full = self.cold.state.full(self.now);
        let (full_until, empty_at) = full.unwrap_or_default();
        self.slot.empty_at.store(empty_at.as_micros(), Ordering::Relaxed);
        self.slot.full_until.store(full_until.as_micros(), Ordering::Release);
        if !self.cold.retired
            && let State::Window(counts) = &self.cold.state
            && let Some(grant) = grant(counts)
        {
            self.cold.granted = counts.free();
            self.slot.grant.store(grant, Ordering::Release);
        }
    }
}

/// What may be taken without the lock, if it can be written in one word.
fn grant(counts: &Counts) -> Option<u64> {
    let (bucket, left) = (counts.newest(), counts.free());
    let writable = left < 1 << LEFT_BITS && bucket < 1 << (u64::BITS - LEFT_BITS);
    (writable && counts.rule().width() >= MIN_WIDTH).then_some(bucket << LEFT_BITS | u64::from(left))
}
