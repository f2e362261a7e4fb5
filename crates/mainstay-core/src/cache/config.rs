//! The options of a cache.

use std::time::Duration;

use crate::codec::Codec;
use crate::store::Degrade;

/// How a cache works for all its keys. Plain data with complete defaults.
///
/// ```
/// let mut options = mainstay_core::cache::Options::default();
/// options.max_bytes = 256 << 20;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Memory that values may use in this process, as [`Memory`](super::Memory) counts it; beyond it, entries that
    /// are asked for seldom are evicted. Default 64 MiB.
    pub max_bytes: usize,
    /// Largest encoded value. Default 1 MiB.
    pub max_value_bytes: usize,
    /// Tags that are remembered in this process; what bears a forgotten one is gone from [`Memory`](super::Memory),
    /// and asked for again on a server. Default 10,000.
    pub max_tags: usize,
    /// Versions that [`Memory`](super::Memory) remembers of keys written with
    /// [`set_if_newer`](super::Cache::set_if_newer). Default 10,000.
    pub max_versions: usize,
    /// Longest time that a store on a server keeps a value near, in this process. Zero: it keeps none. Default 60 s.
    pub near_ttl: Duration,
    /// Values of this size in bytes and above are compressed on a server, where that saves an eighth. Default 4 KiB.
    pub compress_above: usize,
    /// The shape of the values on a server: those written under another number are misses. Count it up when
    /// a new release reads old values wrongly. Default 0.
    pub schema: u32,
    /// How values become bytes. Entries remember theirs, so it can be changed at any time. Default JSON.
    pub codec: Codec,
    /// Longest wait for one answer of the store. Default 500 ms.
    pub op_timeout: Duration,
    /// After a failed load, how long a stale value is served before the next attempt. Default 1 s.
    pub retry_delay: Duration,
    /// Loads that may run at the same time while the store is down. Default 32.
    pub degraded_loads: usize,
    /// What `get_or_load` does while the store is down: [`Degrade::Local`] loads in this process,
    /// [`Degrade::Refuse`] (and every other rule) fails. Default [`Degrade::Local`].
    pub degrade: Degrade,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_value_bytes: 1 << 20,
            max_tags: 10_000,
            max_versions: 10_000,
            near_ttl: Duration::from_secs(60),
            compress_above: 4 << 10,
            schema: 0,
            codec: Codec::default(),
            op_timeout: Duration::from_millis(500),
            retry_delay: Duration::from_secs(1),
            degraded_loads: 32,
            degrade: Degrade::Local,
        }
    }
}
