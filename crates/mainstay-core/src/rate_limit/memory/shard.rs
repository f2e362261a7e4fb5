//! A part of the keys: those with a slot of their own, and what the rest shares.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use papaya::Equivalent;

use super::slot::Slot;
use crate::rate_limit::meter::State;
use crate::rate_limit::policy::Policy;
use crate::rate_limit::store::Debit;
use crate::store::StoreError;
use crate::time::{Clock, Moment};

/// Most policies whose keys can share a state, per shard.
const MAX_SHARED: usize = 64;

type Random = foldhash::fast::RandomState;

/// The keys of one shard. Reading takes no lock; a slot comes and goes only under the lock of `shared`.
#[derive(Debug, Default)]
pub(super) struct Shard {
    slots: papaya::HashMap<Owned, Arc<Slot>, BuildHasherDefault<Hashed>>,
    shared: Mutex<Shared>,
    /// When idle slots were last looked for, in microseconds.
    pub(super) swept: AtomicU64,
}

/// What keys without a slot share: one state for each policy.
#[derive(Debug, Default)]
pub(super) struct Shared(HashMap<Policy, State, Random>);

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
        clock: &Clock,
        reserve: impl FnOnce() -> bool,
    ) -> Option<Arc<Slot>> {
        let shared = self.lock();
        if let Some(slot) = self.with(query, Arc::clone) {
            return Some(slot);
        }
        if !reserve() {
            return None;
        }
        let Query { hash, debit } = query;
        let state = shared.0.get(&debit.policy).cloned();
        // Read under the lock, so that no life of a state begins before the last one ended.
        let slot = Slot::new(state.unwrap_or_else(|| State::new(&debit.policy, clock.now())));
        let slot = Arc::new(slot);
        let owned = Owned { hash, policy: debit.policy, name: debit.key.name().into() };
        self.slots.pin().insert(owned, Arc::clone(&slot));
        Some(slot)
    }

    /// Forgets idle states and says how many slots that were.
    pub(super) fn sweep(&self, now: Moment) -> usize {
        let mut shared = self.lock();
        self.swept.store(now.as_micros(), Ordering::Relaxed);
        shared.0.retain(|_, state| !state.is_idle(now));
        let before = self.slots.len();
        self.slots.pin().retain(|_, slot| !slot.retire(now));
        before - self.slots.len()
    }

    /// Number of policies with a shared state.
    pub(super) fn shared(&self) -> usize {
        self.lock().0.len()
    }
}

impl Shared {
    /// The state that keys of this policy share.
    pub(super) fn state(&mut self, policy: &Policy, now: Moment) -> Result<&mut State, StoreError> {
        if self.0.len() >= MAX_SHARED && !self.0.contains_key(policy) {
            self.0.retain(|_, state| !state.is_idle(now));
            if self.0.len() >= MAX_SHARED {
                return Err(StoreError::rejected("too many rate limit policies"));
            }
        }
        Ok(self.0.entry(*policy).or_insert_with(|| State::new(policy, now)))
    }

    /// The same, if there is one.
    pub(super) fn existing(&mut self, policy: &Policy) -> Option<&mut State> {
        self.0.get_mut(policy)
    }
}

/// A key under a policy, as the map holds it.
#[derive(Debug)]
struct Owned {
    hash: u64,
    policy: Policy,
    name: Box<str>,
}

/// The same, as it is asked for, hashed once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) hash: u64,
    pub(super) debit: &'a Debit<'a>,
}

impl PartialEq for Owned {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.policy == other.policy
    }
}

impl Eq for Owned {}

impl Hash for Owned {
    fn hash<H: Hasher>(&self, into: &mut H) {
        into.write_u64(self.hash);
    }
}

impl Hash for Query<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, into: &mut H) {
        into.write_u64(self.hash);
    }
}

impl Equivalent<Owned> for Query<'_> {
    #[inline]
    fn equivalent(&self, owned: &Owned) -> bool {
        *owned.name == *self.debit.key.name() && owned.policy == self.debit.policy
    }
}

/// Hands on what was hashed before.
#[derive(Debug, Default, Clone, Copy)]
struct Hashed(u64);

impl Hasher for Hashed {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only a hash is written");
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
