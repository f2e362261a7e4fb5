//! Buckets of a histogram and the counts in them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::number;
use super::striped::{Part, Striped};

/// Buckets of a histogram nobody described: 5 ms to 10 s, for requests measured in seconds.
pub const DEFAULT_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds, shared by all series of a histogram; the last bucket, `+Inf`, is implied.
#[derive(Debug)]
pub(super) struct Buckets {
    bounds: Box<[f64]>,
    /// The `le` value of each bucket including `+Inf`, ready to print.
    pub(super) labels: Box<[Box<str>]>,
}

impl Buckets {
    pub(super) fn new(bounds: &[f64]) -> Self {
        let mut bounds: Vec<f64> = bounds.iter().copied().filter(|bound| bound.is_finite()).collect();
        if bounds.is_empty() {
            bounds = DEFAULT_BUCKETS.into();
        }
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        let labels =
            bounds.iter().chain([&f64::INFINITY]).map(|bound| number::label(*bound).into()).collect();
        Self { bounds: bounds.into(), labels }
    }

    pub(super) fn same_bounds(&self, other: &Self) -> bool {
        self.bounds == other.bounds
    }

    /// The first bucket whose bound is at least `value`.
    #[inline]
    fn index_of(&self, value: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }
}

/// Counts of one series.
#[derive(Debug)]
pub(super) struct Counts {
    buckets: Arc<Buckets>,
    parts: Striped<Shard>,
}

impl Counts {
    pub(super) fn new(buckets: Arc<Buckets>) -> Self {
        let parts = Striped::new(Shard::new(buckets.labels.len()));
        Self { buckets, parts }
    }

    #[inline]
    pub(super) fn record(&self, value: f64) {
        self.parts.add((self.buckets.index_of(value), value));
    }

    /// The upper bound of each bucket as text with the number of observations up to it, then the sum
    /// of all. The last bucket's number is the count.
    pub(super) fn read(&self, mut bucket: impl FnMut(&str, u64)) -> (u64, f64) {
        let mut count = 0;
        for (index, label) in self.buckets.labels.iter().enumerate() {
            count += self.parts.parts().map(|shard| shard.count(index).load(Relaxed)).sum::<u64>();
            bucket(label, count);
        }
        let sum = self.parts.parts().map(|shard| f64::from_bits(shard.sum().load(Relaxed))).sum();
        (count, sum)
    }
}

/// The sum, then the count of each bucket, on cache lines of their own: the shards of two threads
/// must not share one.
#[derive(Debug)]
struct Shard(Box<[Line]>);

const WORDS: usize = 16;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; WORDS]);

impl Shard {
    fn new(buckets: usize) -> Self {
        Self((0..(1 + buckets).div_ceil(WORDS)).map(|_| Line::default()).collect())
    }

    #[inline]
    fn sum(&self) -> &AtomicU64 {
        &self.0[0].0[0]
    }

    #[inline]
    fn count(&self, bucket: usize) -> &AtomicU64 {
        &self.0[(bucket + 1) / WORDS].0[(bucket + 1) % WORDS]
    }
}

impl Part for Shard {
    type Delta = (usize, f64);

    fn empty_like(&self) -> Self {
        Self(self.0.iter().map(|_| Line::default()).collect())
    }

    #[inline]
    fn add(&self, delta: Self::Delta) {
        while !self.try_add(delta) {}
    }

    /// The sum is the part that can fail, so it goes first; the count of a bucket cannot.
    #[inline]
    fn try_add(&self, (bucket, value): Self::Delta) -> bool {
        let seen = self.sum().load(Relaxed);
        let sum = (f64::from_bits(seen) + value).to_bits();
        let won = self.sum().compare_exchange(seen, sum, Relaxed, Relaxed).is_ok();
        if won {
            self.count(bucket).fetch_add(1, Relaxed);
        }
        won
    }
}
