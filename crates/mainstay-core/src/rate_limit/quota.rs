use std::borrow::Cow;
use std::time::Duration;

use super::error::Error;
use super::gcra::Gcra;
use super::policy::{Policy, Rule};
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
/// and under saturation at least 10/11 of it. A wrong one is [`Error::Quota`] when it is used.
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
    policy: Policy,
    outage: Option<Outage>,
    /// The field that is wrong, and how. Found while building, so that a check has no more to do.
    fault: Option<&'static Fault>,
}

/// A field, and what is wrong with it.
type Fault = (&'static str, &'static str);

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
        let window = ceil_micros(window);
        let rule = Rule::Window(Window::new(limit, window, 10));
        let policy = Policy { digest: 0, name: None, limit, window, rule };
        Self { policy, outage: None, fault: None }.checked()
    }

    /// Names the policy, in metrics, headers and stores: 1 to [`MAX_NAME`] of `[a-z0-9_-]`. Default: made
    /// of limit and window.
    #[must_use]
    pub const fn named(mut self, name: &'static str) -> Self {
        self.policy.name = Some(name);
        self.checked()
    }

    /// Cuts the window into 1 to [`MAX_BUCKETS`] buckets (default 10): k buckets make k/(k+1) of the limit
    /// usable, and cost 4·(k+1) bytes per key.
    #[must_use]
    pub const fn buckets(mut self, buckets: u32) -> Self {
        self.policy.rule = Rule::Window(Window::new(self.policy.limit, self.policy.window, buckets));
        self.checked()
    }

    /// Smooths instead of capping: `limit` per window at a steady rate, after a burst of at most `burst`.
    /// A window can then hold up to `burst` + `limit`. For traffic shaping, not for promises.
    #[must_use]
    pub const fn gcra(mut self, burst: u32) -> Self {
        self.policy.rule = Rule::Gcra(Gcra::new(self.policy.limit, self.policy.window, burst));
        self.checked()
    }

    /// What is decided while the store is slow or gone. Default: [`Options::on_outage`](super::Options::on_outage).
    #[must_use]
    pub const fn on_outage(mut self, outage: Outage) -> Self {
        self.outage = Some(outage);
        self.checked()
    }

    /// Requests per window.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.policy.limit
    }

    /// Length of the window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.policy.window()
    }

    /// The name, given or made of limit and window.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        self.policy.name()
    }

    pub(super) const fn outage(&self) -> Option<Outage> {
        self.outage
    }

    /// What stores see of it.
    ///
    /// # Errors
    /// [`Error::Quota`] with the field that is wrong.
    #[inline]
    pub const fn policy(&self) -> Result<Policy, Error> {
        match self.fault {
            None => Ok(self.policy),
            Some((field, reason)) => Err(Error::Quota { field, reason }),
        }
    }

    const fn checked(mut self) -> Self {
        self.policy.digest = self.policy.digested();
        self.fault = self.fault();
        self
    }

    const fn fault(&self) -> Option<&'static Fault> {
        if let Some(name) = self.policy.name
            && !is_name(name)
        {
            return Some(&("name", "must be 1 to 64 characters of a-z, 0-9, '_' or '-'"));
        }
        if self.policy.limit == 0 {
            return Some(&("limit", "must be at least 1"));
        }
        if self.policy.window == 0 || self.policy.window > ceil_micros(MAX_WINDOW) {
            return Some(&("window", "must be more than 0 and at most a year"));
        }
        if let Some(Outage::Local { share: Some(share) }) = self.outage
            && !is_share(share)
        {
            return Some(&("share", "must be above 0 and at most 1"));
        }
        match self.policy.rule {
            Rule::Window(rule) if rule.buckets() == 0 || rule.buckets() > MAX_BUCKETS => {
                Some(&("buckets", "must be 1 to 60"))
            }
            Rule::Window(rule) if self.policy.window < rule.buckets() as u64 => {
                Some(&("window", "must be at least a microsecond for each bucket"))
            }
            Rule::Gcra(rule) if rule.burst() == 0 => Some(&("burst", "must be at least 1")),
            Rule::Gcra(rule) if rule.tolerance() > MAX_TOLERANCE => {
                Some(&("burst", "must be earned within a hundred years"))
            }
            Rule::Window(_) | Rule::Gcra(_) => None,
        }
    }

    /// The same with a share of the limit, at least 1.
    pub(super) fn scaled(self, share: f64) -> Self {
        let scale = |count: u32| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0..=count")]
            let part = (f64::from(count) * share.clamp(0.0, 1.0)).floor() as u32;
            part.max(1)
        };
        let mut scaled = self;
        scaled.policy.limit = scale(self.policy.limit);
        match self.policy.rule {
            Rule::Window(rule) => scaled.buckets(rule.buckets()),
            Rule::Gcra(rule) => scaled.gcra(scale(rule.burst())),
        }
    }
}

pub(super) const fn is_share(share: f64) -> bool {
    share > 0.0 && share <= 1.0
}

const fn is_name(name: &str) -> bool {
    let mut rest = name.as_bytes();
    while let [first, others @ ..] = rest {
        if !matches!(first, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-') {
            return false;
        }
        rest = others;
    }
    !name.is_empty() && name.len() <= MAX_NAME
}

/// Saturates; only a window within bounds is used.
#[expect(clippy::cast_possible_truncation, reason = "compared before")]
const fn ceil_micros(time: Duration) -> u64 {
    let micros = time.as_nanos().div_ceil(1_000);
    if micros > u64::MAX as u128 { u64::MAX } else { micros as u64 }
}
