//! The clocks that leases and windows are judged by.
//!
//! [`Clock::now`] counts from the machine's start and goes on while it sleeps (`CLOCK_BOOTTIME`): a
//! lease that ran out during a suspend is seen to have run out, which `std::time::Instant` would not show
//! on Linux. [`Clock::wall`] is the calendar's time, which can jump: it names moments for people and
//! decides nothing.
//!
//! Both come from one injected [`Clock`], so that a test can hold them in its hand.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// A moment on this process's own clock, in whole microseconds. Means nothing to another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The last moment there is.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment this many microseconds after the clock's beginning.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the clock's beginning.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Saturates at [`Moment::NEVER`]; a part of a microsecond is dropped.
impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(micros(time)))
    }
}

/// Saturates at the clock's beginning; a part of a microsecond is dropped.
impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(micros(time)))
    }
}

/// Whole microseconds of a duration, at most `u64::MAX`.
#[must_use]
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Where a clock reads from. Tests bring their own.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Must never go back.
    fn now(&self) -> Moment;
    /// May jump either way.
    fn wall(&self) -> Timestamp;
}

/// The clock handed to whatever measures time. Cheap to clone.
///
/// ```
/// use mainstay_core::time::Clock;
/// use std::time::Duration;
///
/// let clock = Clock::system();
/// let deadline = clock.now() + Duration::from_secs(30);
/// assert!(deadline.saturating_since(clock.now()) > Duration::from_secs(29));
/// ```
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Source>>);

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// The clocks of `source`.
    #[must_use]
    pub fn of(source: Arc<dyn Source>) -> Self {
        Self(Some(source))
    }

    /// Now, on the clock that never goes back and counts suspend.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Moment {
        match &self.0 {
            None => since_boot(),
            Some(source) => source.now(),
        }
    }

    /// Now, by the calendar.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            None => Timestamp::now(),
            Some(source) => source.wall(),
        }
    }
}

#[inline]
#[expect(clippy::cast_sign_loss, reason = "time since boot is not negative")]
fn since_boot() -> Moment {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Moment(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000)
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Clock(system)"),
            Some(source) => write!(f, "Clock({source:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_saturate_at_both_ends() {
        assert_eq!(Moment::NEVER + Duration::from_secs(1), Moment::NEVER);
        assert_eq!(Moment::from_micros(5) - Duration::from_secs(1), Moment::from_micros(0));
        assert_eq!(Moment::from_micros(1).saturating_since(Moment::from_micros(9)), Duration::ZERO);
        assert_eq!(Moment::from_micros(1) + Duration::MAX, Moment::NEVER);
    }

    #[test]
    fn the_system_clock_does_not_go_back() {
        let clock = Clock::system();
        let times: Vec<_> = std::iter::repeat_with(|| clock.now()).take(1_000).collect();
        assert!(times.is_sorted());
    }
}
