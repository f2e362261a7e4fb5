//! Quantiles over a sliding window of time, in bounded memory.
//!
//! Observations are counted in log-linear buckets, 64 per power of two, as in HdrHistogram (Gil Tene)
//! and the linearly interpolated mapping of DDSketch (Masson, Rim, Lee, VLDB 2019): the bucket is
//! the upper bits of the float itself, and its middle is off by at most 1/128 (0.8 %) of the value.
//! The window is a ring of [`SLICES`] such sketches: the oldest is cleared as a new one begins, so the
//! quantiles cover between 5/6 of the window and all of it.
//!
//! A slice keeps at most [`MAX_BUCKETS`] buckets (8 KiB). Values that span more than a factor of
//! 65,536 within a slice make the lowest buckets merge, so that high quantiles stay exact.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Printed for every summary.
pub(super) const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
const SLICES: u32 = 6;
const MAX_BUCKETS: usize = 1024;
/// A double has 52 bits of mantissa; the upper six tell the 64 buckets of a power of two apart.
const DROPPED_BITS: u32 = 52 - 6;

#[derive(Debug)]
pub(super) struct Window {
    start: Instant,
    /// Nanoseconds.
    slice: u64,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    slices: [Sketch; SLICES as usize],
    /// Number of the newest slice, counted from the start.
    newest: u64,
    count: u64,
    sum: f64,
}

/// What a summary shows: quantiles of the window, count and sum since the start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) quantiles: [f64; QUANTILES.len()],
    pub(super) count: u64,
    pub(super) sum: f64,
}

impl Window {
    pub(super) fn new(window: Duration) -> Self {
        let slice = nanos((window / SLICES).max(Duration::from_millis(1)));
        Self { start: Instant::now(), slice, ring: Mutex::default() }
    }

    pub(super) fn record(&self, value: f64) {
        let mut ring = self.turned();
        let newest = ring.position();
        ring.slices[newest].add(bucket(value));
        ring.count += 1;
        ring.sum += value;
    }

    pub(super) fn read(&self) -> Reading {
        let ring = self.turned();
        let mut all: Vec<(i32, u32)> = ring.slices.iter().flat_map(|slice| slice.0.iter().copied()).collect();
        let (count, sum) = (ring.count, ring.sum);
        drop(ring);
        all.sort_unstable_by_key(|(bucket, _)| *bucket);
        Reading { quantiles: QUANTILES.map(|q| quantile(&all, q)), count, sum }
    }

    /// The ring with the slices cleared that have left the window.
    fn turned(&self) -> std::sync::MutexGuard<'_, Ring> {
        let now = nanos(self.start.elapsed()) / self.slice;
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        // A thread that read the clock before another one may come after it: never turn back.
        let passed = now.saturating_sub(ring.newest);
        for _ in 0..passed.min(u64::from(SLICES)) {
            ring.newest += 1;
            let cleared = ring.position();
            ring.slices[cleared].0.clear();
        }
        ring.newest = ring.newest.max(now);
        ring
    }
}

impl Ring {
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of SLICES")]
    fn position(&self) -> usize {
        (self.newest % u64::from(SLICES)) as usize
    }
}

/// Enough for 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Buckets with their counts, sorted by bucket.
#[derive(Debug, Default)]
struct Sketch(Vec<(i32, u32)>);

impl Sketch {
    fn add(&mut self, bucket: i32) {
        match self.0.binary_search_by_key(&bucket, |entry| entry.0) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(1),
            Err(at) if self.0.len() < MAX_BUCKETS => self.0.insert(at, (bucket, 1)),
            Err(0) => self.0[0].1 = self.0[0].1.saturating_add(1),
            Err(at) => {
                let lowest = self.0.remove(0).1;
                self.0.insert(at - 1, (bucket, 1));
                self.0[0].1 = self.0[0].1.saturating_add(lowest);
            }
        }
    }
}

/// Keeps the order of values; values nearer to zero than a normal double count as zero.
fn bucket(value: f64) -> i32 {
    let size = value.abs();
    if size < f64::MIN_POSITIVE {
        return 0;
    }
    let bucket = i32::try_from(size.to_bits() >> DROPPED_BITS).expect("18 bits are left of 64");
    if value < 0.0 { -bucket } else { bucket }
}

fn middle(bucket: i32) -> f64 {
    let bits = u64::from(bucket.unsigned_abs()) << DROPPED_BITS;
    let half = 1 << (DROPPED_BITS - 1);
    match bucket.signum() {
        0 => 0.0,
        sign => f64::from(sign) * f64::from_bits(bits | half),
    }
}

/// The nearest-rank quantile: the smallest value with at least a share `q` of all at or below it.
fn quantile(sorted: &[(i32, u32)], q: f64) -> f64 {
    let total: u64 = sorted.iter().map(|(_, count)| u64::from(*count)).sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= q <= 1")]
    let rank = ((q * total as f64).ceil() as u64).max(1);
    let mut seen = 0;
    for (bucket, count) in sorted {
        seen += u64::from(*count);
        if seen >= rank {
            return middle(*bucket);
        }
    }
    f64::NAN
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_sketch_merges_its_lowest_buckets() {
        let mut sketch = Sketch::default();
        (0..5_000).for_each(|bucket| sketch.add(bucket));
        sketch.add(0);
        assert_eq!(sketch.0.len(), MAX_BUCKETS);
        assert_eq!(sketch.0.iter().map(|(_, count)| count).sum::<u32>(), 5_001);
        assert_eq!(sketch.0.last(), Some(&(4_999, 1)));
    }

    proptest! {
        #[test]
        fn the_middle_of_a_bucket_is_within_one_128th(value in prop::num::f64::NORMAL) {
            let error = (middle(bucket(value)) - value).abs() / value.abs();
            prop_assert!(error <= 1.0 / 128.0, "{value}: {error}");
        }

        #[test]
        fn buckets_keep_the_order_of_values(a in -1e9..1e9f64, b in -1e9..1e9f64) {
            prop_assert!((a <= b) == (bucket(a) <= bucket(b)) || bucket(a) == bucket(b));
        }
    }
}
