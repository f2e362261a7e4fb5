use std::time::Duration;

/// Far enough to mean "never", near enough that no arithmetic on it can overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
const SHORTEST: Duration = Duration::from_millis(1);

/// How checks are probed, where a check does not say otherwise. Plain data with complete defaults.
///
/// ```
/// use std::time::Duration;
/// let mut options = mainstay_core::health::Options::default();
/// options.interval = Duration::from_secs(10);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// A probe without an answer after this time is dropped and counts as a failure. Default 5 s.
    pub timeout: Duration,
    /// Pause between the end of one run and the start of the next. Default 30 s, at least 1 ms.
    pub interval: Duration,
    /// Share of the interval by which each pause varies at random, so that instances started
    /// together do not probe together. Default 0.1, between 0 and 0.9.
    pub jitter: f64,
    /// Consecutive results worse than the current state before the state gets worse. Default 3.
    pub fail_after: u32,
    /// Consecutive results better than the current state before the state gets better. Default 2.
    pub pass_after: u32,
    /// How long a check that gates readiness and has not answered yet keeps the instance not ready.
    /// After that it no longer does: an unknown result is not a failure. Default 10 s.
    pub startup_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            interval: Duration::from_secs(30),
            jitter: 0.1,
            fail_after: 3,
            pass_after: 2,
            startup_grace: Duration::from_secs(10),
        }
    }
}

impl Options {
    /// The interval with its random part, within bounds no caller can break.
    pub(super) fn pause(&self, interval: Duration) -> Duration {
        let jitter = if self.jitter.is_finite() { self.jitter.clamp(0.0, 0.9) } else { 0.0 };
        let factor = 1.0 + jitter * (rand::random::<f64>() * 2.0 - 1.0);
        interval.clamp(SHORTEST, LONGEST).mul_f64(factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_jitter_and_no_interval_breaks_the_pause(jitter in proptest::num::f64::ANY, seconds: u64, nanos in 0_u32..1_000_000_000) {
            let options = Options { jitter, ..Options::default() };
            let interval = Duration::new(seconds, nanos);
            let pause = options.pause(interval);
            let within = interval.clamp(SHORTEST, LONGEST);
            prop_assert!(pause >= within.mul_f64(0.099) && pause <= within.mul_f64(1.901), "{pause:?}");
            prop_assert!(!pause.is_zero());
        }
    }
}
