//! A part of the keys: those with a slot of their own, and what the rest shares.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::slot::Slot;
use crate::rate_limit::meter::State;
use crate::rate_limit::named::{Map, Query, Random};
use crate::rate_limit::policy::Policy;
use crate::store::StoreError;
use crate::time::Moment;

/// Most policies whose keys can share a state, per shard.
const MAX_SHARED: usize = 64;

/// The keys of one shard. Reading takes no lock; a slot comes and goes only under the lock of `shared`.
#[derive(Debug, Default)]
pub(super) struct Shard {
    slots: Map<Arc<Slot>>,
    shared: Mutex<Shared>,
    /// When idle slots were last looked for, in microseconds.
    pub(super) swept: AtomicU64,
}

/// What keys without a slot share: one state for each policy.
#[derive(Debug, Default)]
pub(super) struct Shared {
    states: HashMap<Policy, State, Random>,
    /// Lives given out, to slots, too.
    lives: u64,
}

impl Shard {
    /// Calls `with` with the key's slot, if it has one.
    #[inline]
    pub(super) fn with<R>(&self, query: Query<'_>, with: impl FnOnce(&Arc<Slot>) -> R) -> Option<R> {
        self.slots.pin().get(&query).map(with)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key's slot; a new one if `reserve` finds room. It begins with what the key may have been charged
    /// while it had none.
    pub(super) fn slot_or_insert(
        &self,
        query: Query<'_>,
        reserve: impl FnOnce() -> bool,
    ) -> Option<Arc<Slot>> {
        let mut shared = self.lock();
        if let Some(slot) = self.with(query, Arc::clone) {
            return Some(slot);
        }
        if !reserve() {
            return None;
        }
        let policy = query.debit.policy;
        let life = shared.next_life();
        let state = shared.states.get(&policy).cloned().map(|state| state.reborn(life));
        let slot = Arc::new(Slot::new(state.unwrap_or_else(|| State::new(&policy, life))));
        self.slots.pin().insert(query.owned(), Arc::clone(&slot));
        Some(slot)
    }

    /// Forgets idle states and says how many slots that were.
    pub(super) fn sweep(&self, now: Moment) -> usize {
        let mut shared = self.lock();
        self.swept.store(now.as_micros(), Ordering::Relaxed);
        shared.states.retain(|_, state| !state.is_idle(now));
        let before = self.slots.len();
        self.slots.pin().retain(|_, slot| !slot.retire(now));
        before - self.slots.len()
    }

    /// Number of policies with a shared state.
    pub(super) fn shared(&self) -> usize {
        self.lock().states.len()
    }
}

impl Shared {
    /// The state that keys of this policy share.
    pub(super) fn state(&mut self, policy: &Policy, now: Moment) -> Result<&mut State, StoreError> {
        if self.states.len() >= MAX_SHARED && !self.states.contains_key(policy) {
            self.states.retain(|_, state| !state.is_idle(now));
            if self.states.len() >= MAX_SHARED {
                return Err(StoreError::rejected("too many rate limit policies"));
            }
        }
        let life = self.next_life();
        Ok(self.states.entry(*policy).or_insert_with(|| State::new(policy, life)))
    }

    /// The same, if there is one.
    pub(super) fn existing(&mut self, policy: &Policy) -> Option<&mut State> {
        self.states.get_mut(policy)
    }

    fn next_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::key::Key;
    use crate::rate_limit::quota::Quota;
    use crate::rate_limit::store::Debit;

    #[test]
    fn a_receipt_of_a_slot_is_worth_nothing_in_the_state_it_came_from() {
        let quota = Quota::new(10, Duration::from_micros(1_000)).gcra(5);
        let debit = Debit { key: Key::new("k").unwrap(), policy: quota.policy().unwrap(), cost: 1 };
        let (shard, begin) = (Shard::default(), Moment::from_micros(7_000));
        shard.lock().state(&debit.policy, begin).unwrap().charge(begin, 1);

        let slot = shard.slot_or_insert(Query::new(&Random::default(), &debit), || true).unwrap();
        let mut locked = slot.lock().unwrap();
        assert_eq!(locked.state(begin).judge(begin, 0, 0).remaining, 4, "it begins with what was shared");
        let first = locked.state(begin).charge(begin, 3).receipt.unwrap();
        locked.state(begin).refund(begin, first);
        let second = locked.state(begin).charge(begin, 3).receipt.unwrap();

        let later = Moment::from_micros(7_500);
        let mut shared = shard.lock();
        let state = shared.state(&debit.policy, later).unwrap();
        state.charge(later, 5);
        state.refund(later, second);
        assert_eq!(state.judge(later, 0, 0).remaining, 0);
    }
}
