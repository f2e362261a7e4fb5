//! A quota that has been checked.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::gcra::Gcra;
use super::window::Window;

/// How a policy decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// At most so many in any window.
    Window(Window),
    /// A steady rate with a burst.
    Gcra(Gcra),
}

/// A [`Quota`](super::Quota) that has been checked: what a store sees. One key under two policies is two
/// states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    pub(super) name: Option<&'static str>,
    pub(super) limit: u32,
    pub(super) window: u64,
    pub(super) rule: Rule,
}

impl Policy {
    /// The name given to the quota, or one made of its numbers, such as `100-per-60s`.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        match self.name {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(self.derived_name()),
        }
    }

    fn derived_name(&self) -> String {
        let (limit, window) = (self.limit, self.window);
        match (window % 1_000_000, window % 1_000) {
            (0, _) => format!("{limit}-per-{}s", window / 1_000_000),
            (_, 0) => format!("{limit}-per-{}ms", window / 1_000),
            _ => format!("{limit}-per-{window}us"),
        }
    }

    /// Requests per window.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Most that ever fits at once: the limit, or the burst of GCRA.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        match self.rule {
            Rule::Window(rule) => rule.limit(),
            Rule::Gcra(rule) => rule.burst(),
        }
    }

    /// Length of the window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_micros(self.window)
    }

    /// How it decides.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }
}

/// Name and numbers, in `[a-z0-9_.-]`: different for different policies. What a shared store writes
/// behind the key.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, parameter) = match self.rule {
            Rule::Window(rule) => ('w', rule.buckets()),
            Rule::Gcra(rule) => ('g', rule.burst()),
        };
        write!(f, "{}.{kind}{parameter}.{}.{}", self.name.unwrap_or(""), self.limit, self.window)
    }
}
