//! The store in this process.

mod shard;
mod slot;
mod transaction;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use smallvec::SmallVec;

use super::named::{Query, Random};
use super::store::{Debit, Mode, Receipt, Store, Verdict, Verdicts};
use crate::store::{Reply, StoreError};
use crate::time::Clock;
use shard::Shard;
use slot::Slot;
use transaction::Place;

const SHARDS: usize = 16;

/// How often, in microseconds, a shard is searched for idle keys when new keys come: seldom while there is
/// room, often while new keys find none.
const PATIENCE: u64 = 10_000_000;
const PATIENCE_FULL: u64 = 100_000;

/// Limits within one process.
///
/// At most `max_keys` keys have a state of their own. No state that still counts is ever given up: keys
/// beyond the bound share one state per policy with about a sixteenth of the others, which refuses them
/// earlier than their limit says and never later; they get their own once there is room. Idle keys are
/// removed as new ones come. Charging a key that is known, and refusing, allocate nothing.
#[derive(Debug)]
pub struct Memory {
    clock: Clock,
    max_keys: usize,
    random: Random,
    shards: Box<[Shard]>,
    keys: AtomicUsize,
    /// Which shard is searched next.
    next: AtomicUsize,
    overflows: AtomicU64,
}

/// What a [`Memory`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Keys with a state of their own; one key under two policies counts twice.
    pub keys: usize,
    /// States shared by keys that found no room.
    pub shared: usize,
    /// Decisions over a shared state, since the beginning.
    pub overflows: u64,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(max_keys: usize, clock: Clock) -> Self {
        Self {
            clock,
            max_keys,
            random: Random::default(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            keys: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            overflows: AtomicU64::new(0),
        }
    }

    /// What it holds now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            keys: self.keys.load(Ordering::Relaxed),
            shared: self.shards.iter().map(Shard::shared).sum(),
            overflows: self.overflows.load(Ordering::Relaxed),
        }
    }

    #[inline]
    fn query<'a>(&self, debit: &'a Debit<'a>) -> Query<'a> {
        Query::new(&self.random, debit)
    }

    /// By bits of the hash that the maps make little of.
    #[inline]
    fn shard(&self, query: Query<'_>) -> &Shard {
        &self.shards[(query.hash >> 32) as usize % SHARDS]
    }

    /// The shortest way: a known key by itself.
    #[inline]
    fn decide_known(&self, debit: &Debit<'_>, mode: Mode) -> Option<Verdict> {
        let query = self.query(debit);
        self.shard(query).with(query, |slot| slot.decide(debit, mode, &self.clock)).flatten()
    }

    fn transact(&self, debits: &[Debit<'_>], mode: Mode) -> Result<Verdicts, StoreError> {
        loop {
            let places: SmallVec<[Place<'_>; 2]> = debits.iter().map(|debit| self.place(debit)).collect();
            if let Some(answer) = transaction::decide(&places, mode, &self.clock) {
                return answer;
            }
            // A place changed hands under its shard's lock: wait for that, and look again.
            debits.iter().for_each(|debit| drop(self.shard(self.query(debit)).lock()));
        }
    }

    fn place<'a>(&'a self, debit: &'a Debit<'a>) -> Place<'a> {
        let query = self.query(debit);
        let shard = self.shard(query);
        let slot = shard.with(query, Arc::clone).or_else(|| {
            self.sweep();
            shard.slot_or_insert(query, || self.reserve())
        });
        if slot.is_none() {
            self.overflows.fetch_add(1, Ordering::Relaxed);
        }
        Place { query, shard, slot }
    }

    fn reserve(&self) -> bool {
        let more = |keys| (keys < self.max_keys).then_some(keys + 1);
        self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Searches one shard for idle keys, each in its turn and none too often.
    fn sweep(&self) {
        let now = self.clock.now();
        let full = self.keys.load(Ordering::Relaxed) >= self.max_keys;
        let patience = if full { PATIENCE_FULL } else { PATIENCE };
        let shard = &self.shards[self.next.fetch_add(1, Ordering::Relaxed) % SHARDS];
        if now.as_micros().saturating_sub(shard.swept.load(Ordering::Relaxed)) >= patience {
            self.keys.fetch_sub(shard.sweep(now), Ordering::Relaxed);
        }
    }

    fn give_back(&self, debit: &Debit<'_>, receipt: Receipt) {
        let query = self.query(debit);
        let shard = self.shard(query);
        let own = |slot: &Arc<Slot>| {
            // A retired slot had nothing left to give back.
            if let Some(mut locked) = slot.lock() {
                let now = self.clock.now();
                locked.state(now).refund(now, receipt);
            }
        };
        if shard.with(query, own).is_none() {
            let mut shared = shard.lock();
            if shard.with(query, own).is_none()
                && let Some(state) = shared.existing(&debit.policy)
            {
                state.refund(self.clock.now(), receipt);
            }
        }
    }
}

impl Store for Memory {
    fn decide<'a>(&'a self, debits: &'a [Debit<'a>], mode: Mode) -> Reply<'a, Result<Verdicts, StoreError>> {
        if let [debit] = debits
            && let Some(verdict) = self.decide_known(debit, mode)
        {
            return Reply::ready(Ok(verdict.into()));
        }
        Reply::ready(self.transact(debits, mode))
    }

    fn refund<'a>(&'a self, debit: Debit<'a>, receipt: Receipt) -> Reply<'a, Result<(), StoreError>> {
        self.give_back(&debit, receipt);
        Reply::ready(Ok(()))
    }
}
