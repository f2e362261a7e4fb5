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
    /// Memory that [`Memory`](super::Memory) may use, as it counts it; beyond it, entries that are asked for
    /// seldom are evicted. Default 64 MiB.
    pub max_bytes: usize,
    /// Largest encoded value. Default 1 MiB.
    pub max_value_bytes: usize,
    /// Tags that [`Memory`](super::Memory) remembers; what bears a forgotten one is gone. Default 10,000.
    pub max_tags: usize,
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
            codec: Codec::default(),
            op_timeout: Duration::from_millis(500),
            retry_delay: Duration::from_secs(1),
            degraded_loads: 32,
            degrade: Degrade::Local,
        }
    }
}
