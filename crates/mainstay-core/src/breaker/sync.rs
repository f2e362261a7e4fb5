//! What the gate shares between threads. A test compiles the gate with a model checker's types in this place.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU64};
pub(super) use std::sync::{Mutex, MutexGuard};

/// A number of this thread.
#[inline]
pub(super) fn this_thread() -> usize {
    crate::metrics::this_thread() as usize
}

/// Twice as many as cores, so that threads seldom share one; a power of two.
pub(super) fn stripes() -> usize {
    let cores = std::thread::available_parallelism().map_or(4, usize::from);
    (2 * cores).next_power_of_two().min(64)
}
