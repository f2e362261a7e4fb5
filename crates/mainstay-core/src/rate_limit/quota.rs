use std::borrow::Cow;
use std::time::Duration;

use super::error::Error;
use super::gcra::Gcra;
use super::policy::{Policy, Rule, derived_name};
use super::window::Window;

/// Longest name of a quota, in bytes.
pub const MAX_NAME: usize = 64;

/// Most buckets of a window.
pub const MAX_BUCKETS: u32 = 60;

/// Longest window: a year.
pub const MAX_WINDOW: Duration = Duration::from_secs(365 * 24 * 3600);

/// Longest time a burst may take to be earned: a hundred windows of the longest kind.
const MAX_TOLERANCE: u64 = 100 * 365 * 24 * 3600 * 1_000_000;

/// How much one key may ask for. A plain value: build it where it is used, or keep it in a `const`.
///
/// The default is a window of ten buckets: never more than the limit in any window, whenever it begins,
/// and under saturation at least 10/11 of it. Nothing is checked before the quota is used; a wrong one is
/// then [`Error::Quota`].
///
/// ```
/// use mainstay_core::rate_limit::{Outage, Quota};
/// use std::time::Duration;
///
/// const LOGIN: Quota = Quota::per_minute(5).named("login").on_outage(Outage::Deny);
/// const UPLOAD: Quota = Quota::new(100, Duration::from_secs(900)).buckets(60);
/// const SMOOTH: Quota = Quota::per_second(50).gcra(10);
/// assert_eq!(LOGIN.name(), "login");
/// assert_eq!(UPLOAD.name(), "100-per-900s");
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quota {
    limit: u32,
    window: Duration,
    algorithm: Algorithm,
    name: Option<&'static str>,
    outage: Option<Outage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Window { buckets: u32 },
    Gcra { burst: u32 },
}

/// What a check decides while the store is slow or gone.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Outage {
    /// Turns everybody away: for logins and whatever else must never be tried without a limit.
    Deny,
    /// Lets everybody pass, uncounted.
    Allow,
    /// Limits within this process, to a share of the limit.
    Local {
        /// Above 0, at most 1; `None` is one divided by [`Options::instances`](super::Options::instances).
        /// At least one request stays allowed.
        share: Option<f64>,
    },
}

impl Quota {
    /// At most `limit` in any second.
    #[must_use]
    pub const fn per_second(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(1))
    }

    /// At most `limit` in any minute.
    #[must_use]
    pub const fn per_minute(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(60))
    }

    /// At most `limit` in any hour.
    #[must_use]
    pub const fn per_hour(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(3600))
    }

    /// At most `limit` in any window of this length, which is at least 1 µs for each bucket and at most
    /// [`MAX_WINDOW`]; a part of a microsecond counts as a whole one.
    #[must_use]
    pub const fn new(limit: u32, window: Duration) -> Self {
        Self { limit, window, algorithm: Algorithm::Window { buckets: 10 }, name: None, outage: None }
    }

    /// Names the policy, in metrics, headers and stores: 1 to [`MAX_NAME`] of `[a-z0-9_-]`. Default: made
    /// of limit and window.
    #[must_use]
    pub const fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Cuts the window into 1 to [`MAX_BUCKETS`] buckets (default 10): k buckets make k/(k+1) of the limit
    /// usable, and cost 4·(k+1) bytes per key.
    #[must_use]
    pub const fn buckets(mut self, buckets: u32) -> Self {
        self.algorithm = Algorithm::Window { buckets };
        self
    }

    /// Smooths instead of capping: `limit` per window at a steady rate, after a burst of at most `burst`.
    /// A window can then hold up to `burst` + `limit`. For traffic shaping, not for promises.
    #[must_use]
    pub const fn gcra(mut self, burst: u32) -> Self {
        self.algorithm = Algorithm::Gcra { burst };
        self
    }

    /// What is decided while the store is slow or gone. Default: [`Options::on_outage`](super::Options::on_outage).
    #[must_use]
    pub const fn on_outage(mut self, outage: Outage) -> Self {
        self.outage = Some(outage);
        self
    }

    /// Requests per window.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Length of the window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// The name, given or made of limit and window.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        match self.name {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(derived_name(self.limit, ceil_micros(self.window))),
        }
    }

    pub(super) const fn outage(&self) -> Option<Outage> {
        self.outage
    }

    /// What stores see of it.
    ///
    /// # Errors
    /// [`Error::Quota`] with the field that is wrong.
    pub fn policy(&self) -> Result<Policy, Error> {
        if let Some(name) = self.name
            && !is_name(name)
        {
            return wrong("name", "must be 1 to 64 characters of a-z, 0-9, '_' or '-'");
        }
        if self.limit == 0 {
            return wrong("limit", "must be at least 1");
        }
        if self.window.is_zero() || self.window > MAX_WINDOW {
            return wrong("window", "must be more than 0 and at most a year");
        }
        if let Some(Outage::Local { share: Some(share) }) = self.outage
            && !is_share(share)
        {
            return wrong("share", SHARE);
        }
        let window = ceil_micros(self.window);
        let rule = match self.algorithm {
            Algorithm::Window { buckets } if buckets == 0 || buckets > MAX_BUCKETS => {
                return wrong("buckets", "must be 1 to 60");
            }
            Algorithm::Window { buckets } if window < u64::from(buckets) => {
                return wrong("window", "must be at least a microsecond for each bucket");
            }
            Algorithm::Window { buckets } => Rule::Window(Window::new(self.limit, window, buckets)),
            Algorithm::Gcra { burst: 0 } => return wrong("burst", "must be at least 1"),
            Algorithm::Gcra { burst } => {
                let rule = Gcra::new(self.limit, window, burst);
                if rule.tolerance() > MAX_TOLERANCE {
                    return wrong("burst", "must be earned within a hundred years");
                }
                Rule::Gcra(rule)
            }
        };
        Ok(Policy { name: self.name, limit: self.limit, window, rule })
    }

    /// The same with a share of the limit, at least 1.
    pub(super) fn scaled(mut self, share: f64) -> Self {
        let scale = |count: u32| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0..=count")]
            let part = (f64::from(count) * share.clamp(0.0, 1.0)).floor() as u32;
            part.max(1)
        };
        self.limit = scale(self.limit);
        if let Algorithm::Gcra { burst } = &mut self.algorithm {
            *burst = scale(*burst);
        }
        self
    }
}

pub(super) const SHARE: &str = "must be above 0 and at most 1";

pub(super) fn is_share(share: f64) -> bool {
    share > 0.0 && share <= 1.0
}

fn wrong<T>(field: &'static str, reason: &'static str) -> Result<T, Error> {
    Err(Error::Quota { field, reason })
}

fn is_name(name: &str) -> bool {
    let letter =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(letter)
}

/// Saturates; only a window within bounds is used.
fn ceil_micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}
