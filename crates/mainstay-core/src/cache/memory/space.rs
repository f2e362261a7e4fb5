//! The bounded room that values lie in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache as Map;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use smallvec::SmallVec;

use crate::cache::{Tag, Value};
use crate::time::Moment;

/// What an entry weighs besides its key, its tags and twice its bytes: the table's slot, the record and their share of the
/// allocator's overhead.
pub(super) const OVERHEAD: usize = 256;

/// What a tag weighs besides its name.
const TAG_OVERHEAD: usize = 64;

/// Parts of the map per core, each under a lock of its own.
const SHARDS_PER_CORE: usize = 4;

/// A value with its times.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) value: Arc<Value>,
    pub(super) fresh_until: Moment,
    pub(super) usable_until: Moment,
    /// With epochs.
    pub(super) tags: Option<Arc<[Tag]>>,
}

pub(super) type Space = Map<Box<str>, Record, Weigh, foldhash::fast::RandomState, Evictions>;

/// Room for `max_bytes`, in as many parts as leave room for three of the largest values in each.
pub(super) fn space(max_bytes: usize, max_value_bytes: usize, evictions: Evictions) -> Space {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let largest = weight(0, max_value_bytes).saturating_mul(3);
    let shards = (max_bytes / largest).clamp(1, (cores * SHARDS_PER_CORE).next_power_of_two());
    let shards = 1 << shards.ilog2();
    let options = OptionsBuilder::new()
        .shards(shards)
        // What the map remembers of evicted keys is in proportion to it.
        .estimated_items_capacity((max_bytes / 1024).max(shards * 32))
        .weight_capacity((max_bytes / shards * shards) as u64)
        .build()
        .expect("capacities are set");
    Map::with_options(options, Weigh, foldhash::fast::RandomState::default(), evictions)
}

const fn weight(key: usize, bytes: usize) -> usize {
    key.saturating_add(bytes.saturating_mul(2)).saturating_add(OVERHEAD)
}

/// The bytes count twice: the decoded value is remembered beside them.
#[derive(Debug, Clone)]
pub(super) struct Weigh;

impl Weighter<Box<str>, Record> for Weigh {
    fn weight(&self, key: &Box<str>, record: &Record) -> u64 {
        let tags = record.tags.iter().flat_map(|tags| tags.iter());
        let tags: usize = tags.map(|tag| tag.name.len() + TAG_OVERHEAD).sum();
        weight(key.len() + tags, record.value.bytes().len()) as u64
    }
}

/// Counts what is evicted.
#[derive(Debug, Clone, Default)]
pub(super) struct Evictions(Arc<AtomicU64>);

impl Evictions {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What an insert took away, to be dropped when nothing is locked: values are the user's, and so is what happens
/// when they are dropped.
pub(super) type Displaced = SmallVec<[Record; 2]>;

impl Lifecycle<Box<str>, Record> for Evictions {
    type RequestState = Displaced;

    fn on_evict(&self, evicted: &mut Self::RequestState, _key: Box<str>, record: Record) {
        self.0.fetch_add(1, Ordering::Relaxed);
        evicted.push(record);
    }
}
