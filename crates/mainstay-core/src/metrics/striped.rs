//! A cell that is small while it is quiet and spreads over cache lines once threads fight for it.
//!
//! The idea is that of `LongAdder` (Doug Lea, JSR-166): try the one base cell; a lost
//! compare-and-swap is the proof of contention. After [`PATIENCE`] lost races the cell grows one
//! padded stripe per thread, so 10,000 quiet series stay small and a hot one costs each thread its
//! own cache line.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Lost races before a cell grows stripes. Enough to ignore the rare accident in a series' long
/// life, few enough that real contention gets there within microseconds.
const PATIENCE: u32 = 32;

/// Two lines of 64 bytes: processors prefetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Padded<T>(T);

/// A value that can be kept in parts which are added up when read.
pub(super) trait Part {
    /// What an update adds.
    type Delta: Copy;
    /// An empty part for the stripe of another thread.
    fn empty_like(&self) -> Self;
    /// Adds `delta`, or returns false without any change if another thread was faster.
    fn try_add(&self, delta: Self::Delta) -> bool;
}

#[derive(Debug)]
pub(super) struct Striped<T> {
    base: T,
    lost: AtomicU32,
    stripes: OnceLock<Box<[Padded<T>]>>,
}

impl<T: Part> Striped<T> {
    pub(super) fn new(base: T) -> Self {
        Self { base, lost: AtomicU32::new(0), stripes: OnceLock::new() }
    }

    #[inline]
    pub(super) fn add(&self, delta: T::Delta) {
        match self.stripes.get() {
            None if self.base.try_add(delta) => {}
            None => self.add_contended(delta),
            Some(stripes) => add_striped(stripes, delta),
        }
    }

    #[cold]
    fn add_contended(&self, delta: T::Delta) {
        while self.lost.fetch_add(1, Relaxed) < PATIENCE {
            if self.base.try_add(delta) {
                return;
            }
        }
        add_striped(self.stripes.get_or_init(|| stripes_like(&self.base)), delta);
    }

    /// The base and, if there are any, the stripes.
    pub(super) fn parts(&self) -> impl Iterator<Item = &T> {
        let stripes = self.stripes.get().map_or(&[][..], |stripes| stripes);
        std::iter::once(&self.base).chain(stripes.iter().map(|stripe| &stripe.0))
    }
}

/// Twice as many stripes as cores, so that threads which meet can move apart.
fn stripes_like<T: Part>(base: &T) -> Box<[Padded<T>]> {
    let cores = std::thread::available_parallelism().map_or(4, usize::from);
    (0..(2 * cores).next_power_of_two()).map(|_| Padded(base.empty_like())).collect()
}

fn add_striped<T: Part>(stripes: &[Padded<T>], delta: T::Delta) {
    loop {
        let slot = slot();
        if stripes[slot & (stripes.len() - 1)].0.try_add(delta) {
            return;
        }
        SLOT.set(slot + 1);
    }
}

thread_local! {
    /// Which stripe this thread prefers; 0 = not chosen yet. It moves on when two threads meet.
    static SLOT: Cell<usize> = const { Cell::new(0) };
}

#[inline]
fn slot() -> usize {
    match SLOT.get() {
        0 => first_slot(),
        slot => slot,
    }
}

/// Thread ids are handed out in sequence and hash as one integer: neighbours get different stripes.
#[cold]
fn first_slot() -> usize {
    struct Last(u64);
    impl Hasher for Last {
        fn write(&mut self, bytes: &[u8]) {
            self.0 = bytes.iter().fold(self.0, |hash, byte| hash.wrapping_mul(31) + u64::from(*byte));
        }
        fn write_u64(&mut self, id: u64) {
            self.0 = id;
        }
        fn finish(&self) -> u64 {
            self.0
        }
    }
    let mut id = Last(0);
    std::thread::current().id().hash(&mut id);
    // Any value but the mark of "not chosen"; the upper bits do not matter.
    let slot = usize::try_from(id.finish() & 0xffff).unwrap_or_default().max(1);
    SLOT.set(slot);
    slot
}

impl Part for AtomicU64 {
    type Delta = u64;

    fn empty_like(&self) -> Self {
        Self::new(0)
    }

    #[inline]
    fn try_add(&self, delta: u64) -> bool {
        let seen = self.load(Relaxed);
        self.compare_exchange(seen, seen.wrapping_add(delta), Relaxed, Relaxed).is_ok()
    }
}
