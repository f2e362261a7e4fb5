//! What was read from the server and is kept in this process, for as long as it is known not to have changed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::{Cache as Map, EntryAction, EntryResult, PlaceholderGuard};
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use smallvec::SmallVec;

use mainstay_core::time::Moment;

use crate::Witness;

/// What a kept thing weighs besides its name and its [bulk](Bulk): the table's slot, the record, and their share of
/// the allocator's overhead.
pub(super) const OVERHEAD: usize = 256;

/// Parts of the map per core, each under a lock of its own.
const SHARDS_PER_CORE: usize = 4;

/// How many bytes a thing takes that is kept.
pub(super) trait Bulk: Send + Sync + 'static {
    fn bulk(&self) -> usize;
}

/// Things by name.
///
/// Whoever asks the server takes a place first, and keeps the answer in it. Whatever says that the name's
/// thing has changed takes the place away, and an answer that comes for it afterwards is not kept: it may be older.
pub(super) struct Near<V: Bulk> {
    map: Map<Box<str>, Arc<Kept<V>>, Weigh, foldhash::fast::RandomState, Evictions>,
    evictions: Evictions,
    /// Counts up when all is to be forgotten.
    era: AtomicU64,
}

/// A thing that is kept.
pub(super) struct Kept<V> {
    pub(super) thing: V,
    until: Moment,
    witness: Witness,
    era: u64,
}

/// A place for an answer that is on its way.
pub(super) struct Place<'a, V: Bulk> {
    guard: PlaceholderGuard<'a, Box<str>, Arc<Kept<V>>, Weigh, foldhash::fast::RandomState, Evictions>,
    witness: Witness,
    era: u64,
}

impl<V: Bulk> Near<V> {
    /// Room for `max_bytes`, in as many parts as leave room for three of the largest things in each.
    pub(super) fn new(max_bytes: usize, largest: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let largest = largest.saturating_add(OVERHEAD).saturating_mul(3);
        let shards = (max_bytes / largest).clamp(1, (cores * SHARDS_PER_CORE).next_power_of_two());
        let shards = 1 << shards.ilog2();
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity((max_bytes / 1024).max(shards * 32))
            .weight_capacity((max_bytes / shards * shards) as u64)
            .build()
            .expect("capacities are set");
        let evictions = Evictions::default();
        let map =
            Map::with_options(options, Weigh, foldhash::fast::RandomState::default(), evictions.clone());
        Self { map, evictions, era: AtomicU64::new(0) }
    }

    /// What is kept under a name and has not changed.
    #[inline]
    pub(super) fn get(&self, name: &str, now: Moment) -> Option<Arc<Kept<V>>> {
        self.map.get(name).filter(|kept| self.counts(kept, now))
    }

    #[inline]
    fn counts(&self, kept: &Kept<V>, now: Moment) -> bool {
        now < kept.until && kept.witness.holds(now) && self.era.load(Ordering::Acquire) == kept.era
    }

    /// A place for the answer to a question that has not been sent yet; `None` if somebody else has it.
    /// The witness is that of the connection it will be sent over.
    pub(super) fn place(&self, name: &str, witness: Witness, now: Moment) -> Option<Place<'_, V>> {
        let era = self.era.load(Ordering::Acquire);
        let asked = self.map.entry(&Box::<str>::from(name), Some(Duration::ZERO), |_, kept| {
            if self.counts(kept, now) { EntryAction::Retain(()) } else { EntryAction::ReplaceWithGuard }
        });
        match asked {
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => {
                Some(Place { guard, witness, era })
            }
            EntryResult::Retained(()) | EntryResult::Removed(..) | EntryResult::Timeout => None,
        }
    }

    /// Forgets what is kept under a name, and takes its place from an answer on its way.
    pub(super) fn forget(&self, name: &str) {
        self.map.remove(name);
    }

    /// Forgets everything, in one step.
    pub(super) fn forget_all(&self) {
        self.era.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn weight(&self) -> u64 {
        self.map.weight()
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions.0.load(Ordering::Relaxed)
    }
}

impl<V: Bulk> Place<'_, V> {
    /// Keeps the answer, unless the place was taken away.
    pub(super) fn keep(self, thing: V, until: Moment) {
        let kept = Arc::new(Kept { thing, until, witness: self.witness, era: self.era });
        let mut displaced = Displaced::default();
        let _too_late = self.guard.insert_with_lifecycle(kept, &mut displaced);
    }
}

impl<V: Bulk> fmt::Debug for Near<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Near").field("entries", &self.len()).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
struct Weigh;

impl<V: Bulk> Weighter<Box<str>, Arc<Kept<V>>> for Weigh {
    fn weight(&self, name: &Box<str>, kept: &Arc<Kept<V>>) -> u64 {
        name.len().saturating_add(kept.thing.bulk()).saturating_add(OVERHEAD) as u64
    }
}

#[derive(Debug, Clone, Default)]
struct Evictions(Arc<AtomicU64>);

/// What an insert took away, to be dropped when nothing is locked: values are the user's, and so is what happens
/// when they are dropped.
type Displaced<V> = SmallVec<[Arc<Kept<V>>; 2]>;

impl<V: Bulk> Lifecycle<Box<str>, Arc<Kept<V>>> for Evictions {
    type RequestState = Displaced<V>;

    fn on_evict(&self, evicted: &mut Self::RequestState, _name: Box<str>, kept: Arc<Kept<V>>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        evicted.push(kept);
    }
}
