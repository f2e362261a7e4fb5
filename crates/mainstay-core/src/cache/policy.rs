//! How long a value lives and how it is loaded.

use std::sync::Arc;
use std::time::Duration;

use crate::key::Key;

use super::Error;
use super::lifetime::Told;

/// Longest time to live: ten years.
const MAX_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Shortest: the resolution of the stores.
const MIN_TTL: Duration = Duration::from_millis(1);
/// Longest life of a negative entry: a value that comes into being is seen within this time.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(30);
/// Longest hard timeout: nobody waits longer.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Most tags on one value: each costs a look at its epoch whenever the value is read.
const MAX_TAGS: usize = 8;

/// A time to live: from 1 ms to ten years. It is judged where it is used: a wrong one is
/// [`Error::Policy`] of the field `ttl`.
///
/// ```
/// use mainstay_core::cache::Ttl;
///
/// let policy = Ttl::minutes(5).stale_for(Ttl::hours(1)).tag("users");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(Duration);

impl Ttl {
    /// So many milliseconds.
    #[must_use]
    pub const fn millis(count: u64) -> Self {
        Self(Duration::from_millis(count))
    }

    /// So many seconds.
    #[must_use]
    pub const fn seconds(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }

    /// So many minutes.
    #[must_use]
    pub const fn minutes(count: u64) -> Self {
        Self::seconds(count.saturating_mul(60))
    }

    /// So many hours.
    #[must_use]
    pub const fn hours(count: u64) -> Self {
        Self::seconds(count.saturating_mul(3_600))
    }

    /// So many days of 24 hours.
    #[must_use]
    pub const fn days(count: u64) -> Self {
        Self::seconds(count.saturating_mul(86_400))
    }

    /// See [`Policy::stale_for`].
    #[must_use]
    pub fn stale_for(self, time: impl Into<Duration>) -> Policy {
        Policy::new(self.0).stale_for(time)
    }

    /// See [`Policy::early_refresh`].
    #[must_use]
    pub fn early_refresh(self, factor: f64) -> Policy {
        Policy::new(self.0).early_refresh(factor)
    }

    /// See [`Policy::soft_timeout`].
    #[must_use]
    pub fn soft_timeout(self, time: impl Into<Duration>) -> Policy {
        Policy::new(self.0).soft_timeout(time)
    }

    /// See [`Policy::hard_timeout`].
    #[must_use]
    pub fn hard_timeout(self, time: impl Into<Duration>) -> Policy {
        Policy::new(self.0).hard_timeout(time)
    }

    /// See [`Policy::negative_ttl`].
    #[must_use]
    pub fn negative_ttl(self, time: impl Into<Duration>) -> Policy {
        Policy::new(self.0).negative_ttl(time)
    }

    /// See [`Policy::jitter`].
    #[must_use]
    pub fn jitter(self, fraction: f64) -> Policy {
        Policy::new(self.0).jitter(fraction)
    }

    /// See [`Policy::tag`].
    #[must_use]
    pub fn tag(self, name: impl Into<Arc<str>>) -> Policy {
        Policy::new(self.0).tag(name)
    }
}

impl From<Duration> for Ttl {
    fn from(time: Duration) -> Self {
        Self(time)
    }
}

impl From<Ttl> for Duration {
    fn from(ttl: Ttl) -> Self {
        ttl.0
    }
}

/// How long a value lives and how it is loaded. Made from a [`Ttl`] or a [`Duration`].
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub(super) ttl: Duration,
    pub(super) stale_for: Duration,
    pub(super) early_refresh: f64,
    pub(super) soft_timeout: Option<Duration>,
    pub(super) hard_timeout: Duration,
    pub(super) negative_ttl: Duration,
    pub(super) jitter: f64,
    pub(super) tags: Vec<Arc<str>>,
    /// What the loader says about the value itself.
    pub(super) told: Option<Told>,
}

impl Policy {
    /// This time to live, and the defaults.
    #[must_use]
    pub fn new(ttl: impl Into<Duration>) -> Self {
        Self {
            ttl: ttl.into(),
            stale_for: Duration::ZERO,
            early_refresh: 1.0,
            soft_timeout: None,
            hard_timeout: Duration::from_secs(30),
            negative_ttl: Duration::from_secs(10),
            jitter: 0.1,
            tags: Vec::new(),
            told: None,
        }
    }

    /// How long after its time to live a value may still be served by `get_or_load`, if loading a new one
    /// fails or takes longer than the [soft timeout](Self::soft_timeout). Default zero, at most ten years.
    #[must_use]
    pub fn stale_for(self, time: impl Into<Duration>) -> Self {
        Self { stale_for: time.into(), ..self }
    }

    /// How early a value that is still fresh is loaded anew in the background: β of "XFetch" (Vattani,
    /// Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015). At 1,
    /// the default, that begins about as long before the end as loading took; 0 turns it off. At most 100.
    #[must_use]
    pub fn early_refresh(self, factor: f64) -> Self {
        Self { early_refresh: factor, ..self }
    }

    /// How long to wait for the new value before a stale one is served; the load goes on. Zero serves it at once
    /// ("stale while revalidate"). Default: as long as the hard timeout.
    #[must_use]
    pub fn soft_timeout(self, time: impl Into<Duration>) -> Self {
        Self { soft_timeout: Some(time.into()), ..self }
    }

    /// Longest wait for a value; the loader is dropped then. Default 30 s, from 1 ms to a day.
    #[must_use]
    pub fn hard_timeout(self, time: impl Into<Duration>) -> Self {
        Self { hard_timeout: time.into(), ..self }
    }

    /// How long it is remembered that there is no value, if that is shorter than the time to live. Default
    /// 10 s, from 1 ms to 30 s.
    #[must_use]
    pub fn negative_ttl(self, time: impl Into<Duration>) -> Self {
        Self { negative_ttl: time.into(), ..self }
    }

    /// Share of the time to live by which it varies at random, so that values stored together do not
    /// expire together. Default 0.1, from 0 to 0.5.
    #[must_use]
    pub fn jitter(self, fraction: f64) -> Self {
        Self { jitter: fraction, ..self }
    }

    /// Adds a tag, by which the value can be invalidated together with others. At most 8.
    #[must_use]
    pub fn tag(mut self, name: impl Into<Arc<str>>) -> Self {
        self.tags.push(name.into());
        self
    }

    /// Everything in one look, on the path of every hit: plain comparisons.
    #[inline]
    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |field, reason| Err(Error::Policy { field, reason });
        if self.ttl < MIN_TTL || self.ttl > MAX_TTL {
            return wrong("ttl", "must be from 1 ms to 10 years");
        }
        if self.stale_for > MAX_TTL {
            return wrong("stale_for", "must be at most 10 years");
        }
        if !(0.0..=100.0).contains(&self.early_refresh) {
            return wrong("early_refresh", "must be a number from 0 to 100");
        }
        if self.hard_timeout < MIN_TTL || self.hard_timeout > MAX_TIMEOUT {
            return wrong("hard_timeout", "must be from 1 ms to 1 day");
        }
        if self.negative_ttl < MIN_TTL || self.negative_ttl > MAX_NEGATIVE_TTL {
            return wrong("negative_ttl", "must be from 1 ms to 30 s");
        }
        if !(0.0..=0.5).contains(&self.jitter) {
            return wrong("jitter", "must be a number from 0 to 0.5");
        }
        if self.tags.len() > MAX_TAGS {
            return wrong("tag", "must not be used more than 8 times");
        }
        self.tags.iter().try_for_each(|tag| check_tag(tag).map(drop))
    }

    /// The time to live of one entry, varied at random.
    pub(super) fn lifetime(&self, absent: bool) -> Duration {
        let (ttl, longest) = if absent {
            (self.ttl.min(self.negative_ttl), MAX_NEGATIVE_TTL)
        } else {
            (self.ttl, Duration::MAX)
        };
        let vary = self.jitter * (rand::random::<f64>() * 2.0 - 1.0);
        let told = self.told.as_ref().and_then(|told| told.get());
        let told =
            told.map_or(longest, |told| told.fresh_for.min(MAX_TTL).mul_f64(1.0 - vary.abs()).min(longest));
        ttl.mul_f64(1.0 + vary).min(told).max(MIN_TTL)
    }

    /// How long one entry may be served after its time to live.
    pub(super) fn staleness(&self) -> Duration {
        let told = self.told.as_ref().and_then(|told| told.get());
        told.map_or(self.stale_for, |told| self.stale_for.min(told.stale_for))
    }
}

/// The tag as a key of its own space.
pub(super) fn check_tag(name: &str) -> Result<Key<'_>, Error> {
    let reason = "must have from 1 to 2,048 bytes";
    Key::new(name).map_err(|_| Error::Policy { field: "tag", reason })
}

impl From<Ttl> for Policy {
    fn from(ttl: Ttl) -> Self {
        Self::new(ttl)
    }
}

impl From<Duration> for Policy {
    fn from(ttl: Duration) -> Self {
        Self::new(ttl)
    }
}
