//! How long to wait before trying again.

use std::time::Duration;

use rand::RngExt;

/// Waits that double from `first` to `max`, each made random so that callers who failed together do not
/// come back together.
///
/// The wait before attempt *n* is drawn from the upper half of `min(max, first · 2ⁿ)`: "equal jitter"
/// (Brooker, "Exponential backoff and jitter", AWS Architecture Blog, 2015), which unlike full jitter never
/// comes down to no wait at all.
///
/// ```
/// use mainstay_core::backoff::Backoff;
/// use std::time::Duration;
///
/// let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// assert_eq!(backoff.ceiling(3), Duration::from_millis(800));
/// assert!((400..=800).contains(&backoff.delay(3).as_millis()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// Waits from `first` up to `max`; a `max` below `first` counts as `first`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max: max.max(first) }
    }

    /// The longest the wait after `failures` failures (from 0) can be.
    #[must_use]
    pub fn ceiling(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }

    /// The wait after `failures` failures (from 0).
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let half = self.ceiling(failures) / 2;
        half + half.mul_f64(rand::rng().random_range(0.0..=1.0))
    }

    /// A wait after `failures` failures (from 0) that may be none at all: "full jitter" (Brooker, as above),
    /// which spreads callers the widest. For a single more attempt, not for a loop that must not spin.
    #[must_use]
    pub fn full_jitter(&self, failures: u32) -> Duration {
        self.ceiling(failures).mul_f64(rand::rng().random_range(0.0..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(70));
        let ceilings: Vec<_> = (0..5).map(|failures| backoff.ceiling(failures).as_millis()).collect();
        assert_eq!(ceilings, [10, 20, 40, 70, 70]);
        assert_eq!(backoff.ceiling(u32::MAX), Duration::from_millis(70));
    }

    #[test]
    fn full_jitter_uses_the_whole_range() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(100));
        let waits: Vec<_> = std::iter::repeat_with(|| backoff.full_jitter(7)).take(1_000).collect();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(100)));
        assert!(waits.iter().any(|wait| *wait < Duration::from_millis(10)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_millis(90)));
    }

    #[test]
    fn no_wait_is_too_large_to_compute() {
        assert_eq!(Backoff::new(Duration::MAX, Duration::MAX).ceiling(40), Duration::MAX);
        assert!(Backoff::new(Duration::MAX, Duration::ZERO).delay(1) >= Duration::MAX / 2);
        assert!(Backoff::new(Duration::MAX, Duration::MAX).full_jitter(99) <= Duration::MAX);
    }
}
