use std::thread::available_parallelism;
use std::time::Duration;

use super::policy::Policy;

/// How passwords are hashed. Plain data with complete defaults; numbers out of range count as the nearest in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Memory of one hash in KiB: [`MIN_MEMORY_KIB`](super::MIN_MEMORY_KIB) for each lane to
    /// [`MAX_MEMORY_KIB`](super::MAX_MEMORY_KIB). Default 19,456 (19 MiB).
    pub memory_kib: u32,
    /// Passes over that memory: 1 to [`MAX_PASSES`](super::MAX_PASSES). Default 2.
    pub passes: u32,
    /// Lanes: 1 to [`MAX_LANES`](super::MAX_LANES). They are worked out one after the other. Default 1.
    pub lanes: u32,
    /// How many hashes are worked out at a time. 0 counts as 1. Default half the cores, at least 1.
    pub concurrent: usize,
    /// How many calls may wait for that. Default 64.
    pub queue: usize,
    /// How long one may wait; a caller's deadline that is earlier counts instead. Default 5 s.
    pub wait: Duration,
    /// What a new password must be like.
    pub policy: Policy,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            passes: 2,
            lanes: 1,
            concurrent: available_parallelism().map_or(1, |cores| cores.get() / 2).max(1),
            queue: 64,
            wait: Duration::from_secs(5),
            policy: Policy::default(),
        }
    }
}
