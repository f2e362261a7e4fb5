//! How long something usually takes, from the latest times.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::time::micros;

/// Times that are remembered.
const KEPT: usize = 128;

/// The percentile is worked out anew after so many times.
const STEP: usize = 8;

/// A percentile of the last 128 times, worked out after every eighth. No lock, no allocation, 1 KiB.
#[derive(Debug)]
pub(crate) struct Latencies {
    times: Box<[AtomicU64; KEPT]>,
    count: AtomicUsize,
    percentile: AtomicU64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            times: Box::new([const { AtomicU64::new(0) }; KEPT]),
            count: AtomicUsize::new(0),
            percentile: AtomicU64::new(0),
        }
    }
}

impl Latencies {
    /// Adds a time; `share` (0 to 1) is that of the percentile to work out.
    #[inline]
    pub(crate) fn record(&self, time: Duration, share: f64) {
        let index = self.count.fetch_add(1, Relaxed);
        self.times[index % KEPT].store(micros(time), Relaxed);
        if index % STEP == STEP - 1 {
            self.work_out(index + 1, share);
        }
    }

    /// The percentile, once there are at least `min_samples` times.
    #[inline]
    pub(crate) fn percentile(&self, min_samples: u32) -> Option<Duration> {
        let known = self.count.load(Relaxed) >= (min_samples as usize).max(STEP);
        known.then(|| Duration::from_micros(self.percentile.load(Relaxed)))
    }

    /// By the nearest rank.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank, at most 128")]
    fn work_out(&self, count: usize, share: f64) {
        let mut times = [0; KEPT];
        let times = &mut times[..count.min(KEPT)];
        times.iter_mut().zip(&*self.times).for_each(|(time, kept)| *time = kept.load(Relaxed));
        let rank = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len());
        let (_, percentile, _) = times.select_nth_unstable(rank - 1);
        self.percentile.store(*percentile, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_that_of_the_last_times_by_the_nearest_rank() {
        let latencies = Latencies::default();
        for time in 1..=1_000_u64 {
            latencies.record(Duration::from_micros(time), 0.95);
            if time % STEP as u64 == 0 {
                let kept = time.min(KEPT as u64);
                let expected = time - kept + (kept * 95).div_ceil(100);
                assert_eq!(latencies.percentile(0), Some(Duration::from_micros(expected)), "{time}");
            }
        }
    }

    #[test]
    fn too_few_times_have_none() {
        let latencies = Latencies::default();
        for _ in 0..19 {
            latencies.record(Duration::from_secs(1), 0.5);
            assert_eq!(latencies.percentile(20), None);
        }
        latencies.record(Duration::from_secs(1), 0.5);
        assert_eq!(latencies.percentile(20), Some(Duration::from_secs(1)));
    }
}
