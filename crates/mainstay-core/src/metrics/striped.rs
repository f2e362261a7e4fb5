//! A cell that is small while it is quiet and spreads over cache lines once threads fight for it.
//!
//! The idea is that of `LongAdder` (Doug Lea, JSR-166): a lost compare-and-swap is the proof of
//! contention, and after [`PATIENCE`] of them the cell grows one padded stripe per thread. So 10,000
//! quiet series stay small and a hot one costs each thread its own cache line. Added here: the thread
//! that updated a cell last adds without asking, as a plain addition is cheaper than a swap.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Lost races before a cell grows stripes. Enough to ignore the rare accident in a series' long
/// life, few enough that real contention gets there within microseconds.
const PATIENCE: u32 = 32;

/// A value that can be kept in parts which are added up when read.
pub(super) trait Part {
    /// What an update adds.
    type Delta: Copy;
    /// An empty part for the stripe of another thread.
    fn empty_like(&self) -> Self;
    /// Adds `delta`.
    fn add(&self, delta: Self::Delta);
    /// Adds `delta`, or returns false without any change if another thread was faster.
    fn try_add(&self, delta: Self::Delta) -> bool;
}

#[derive(Debug)]
pub(super) struct Striped<T> {
    base: Biased<T>,
    lost: AtomicU32,
    stripes: OnceLock<Box<[Padded<T>]>>,
}

/// Two lines of 64 bytes: processors prefetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Padded<T>(Biased<T>);

/// A part and the thread that updated it last: a hint what is cheaper, never needed to be right.
#[derive(Debug)]
struct Biased<T> {
    part: T,
    thread: AtomicU32,
}

impl<T: Part> Biased<T> {
    fn new(part: T) -> Self {
        Self { part, thread: AtomicU32::new(0) }
    }

    /// False, without any change, if another thread is updating it, too.
    #[inline]
    fn add(&self, thread: u32, delta: T::Delta) -> bool {
        if self.thread.load(Relaxed) == thread {
            self.part.add(delta);
            return true;
        }
        let won = self.part.try_add(delta);
        if won {
            self.thread.store(thread, Relaxed);
        }
        won
    }
}

impl<T: Part> Striped<T> {
    pub(super) fn new(base: T) -> Self {
        Self { base: Biased::new(base), lost: AtomicU32::new(0), stripes: OnceLock::new() }
    }

    #[inline]
    pub(super) fn add(&self, delta: T::Delta) {
        let thread = this_thread();
        match self.stripes.get() {
            None if self.base.add(thread, delta) => {}
            None => self.add_contended(thread, delta),
            Some(stripes) => add_striped(stripes, thread, delta),
        }
    }

    #[cold]
    fn add_contended(&self, thread: u32, delta: T::Delta) {
        while self.lost.fetch_add(1, Relaxed) < PATIENCE {
            if self.base.add(thread, delta) {
                return;
            }
        }
        add_striped(self.stripes.get_or_init(|| stripes_like(&self.base.part)), thread, delta);
    }

    /// The base and, if there are any, the stripes.
    pub(super) fn parts(&self) -> impl Iterator<Item = &T> {
        let stripes = self.stripes.get().map_or(&[][..], |stripes| stripes);
        std::iter::once(&self.base.part).chain(stripes.iter().map(|stripe| &stripe.0.part))
    }
}

/// Twice as many stripes as cores, so that threads which meet can move apart.
fn stripes_like<T: Part>(base: &T) -> Box<[Padded<T>]> {
    let cores = std::thread::available_parallelism().map_or(4, usize::from);
    (0..(2 * cores).next_power_of_two()).map(|_| Padded(Biased::new(base.empty_like()))).collect()
}

fn add_striped<T: Part>(stripes: &[Padded<T>], thread: u32, delta: T::Delta) {
    loop {
        let stripe = (thread as usize).wrapping_add(MOVES.get()) & (stripes.len() - 1);
        if stripes[stripe].0.add(thread, delta) {
            return;
        }
        MOVES.set(MOVES.get() + 1);
    }
}

thread_local! {
    /// A number of this thread; 0 = not asked for yet.
    static THREAD: Cell<u32> = const { Cell::new(0) };
    /// How often this thread met another one on a stripe and moved on.
    static MOVES: Cell<usize> = const { Cell::new(0) };
}

/// A number of this thread, for whoever keeps something per thread: neighbours in age have different ones.
#[inline]
pub(crate) fn this_thread() -> u32 {
    match THREAD.get() {
        0 => number_this_thread(),
        thread => thread,
    }
}

/// Thread ids are handed out in sequence and hash as one integer: neighbours get different stripes.
#[cold]
fn number_this_thread() -> u32 {
    struct Last(u64);
    impl Hasher for Last {
        fn write(&mut self, bytes: &[u8]) {
            self.0 = bytes.iter().fold(self.0, |hash, byte| hash.wrapping_mul(31) ^ u64::from(*byte));
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
    let thread = u32::try_from(id.finish() & 0x7fff_ffff).unwrap_or_default().max(1);
    THREAD.set(thread);
    thread
}

impl Part for AtomicU64 {
    type Delta = u64;

    fn empty_like(&self) -> Self {
        Self::new(0)
    }

    #[inline]
    fn add(&self, delta: u64) {
        self.fetch_add(delta, Relaxed);
    }

    #[inline]
    fn try_add(&self, delta: u64) -> bool {
        let seen = self.load(Relaxed);
        self.compare_exchange(seen, seen.wrapping_add(delta), Relaxed, Relaxed).is_ok()
    }
}
