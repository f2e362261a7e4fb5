//! A quota that has been checked.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::gcra::Gcra;
use super::window::Window;

/// How a policy decides. Every store knows all of them: a new one changes the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// At most so many in any window.
    Window(Window),
    /// A steady rate with a burst.
    Gcra(Gcra),
}

/// A [`Quota`](super::Quota) that has been checked: what a store sees. One key under two policies is two
/// states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A hash of all the rest, made with the quota so that no check has to. Compared first.
    pub(super) digest: u64,
    pub(super) name: Option<&'static str>,
    pub(super) limit: u32,
    pub(super) window: u64,
    pub(super) rule: Rule,
}

impl Policy {
    /// The digest that belongs to all the rest.
    pub(super) const fn digested(&self) -> u64 {
        let digest = fold(self.limit as u64, self.window);
        let mut digest = match self.rule {
            Rule::Window(rule) => fold(digest, rule.buckets() as u64),
            Rule::Gcra(rule) => fold(digest, rule.burst() as u64 | 1 << 32),
        };
        let mut rest = match self.name {
            Some(name) => name.as_bytes(),
            None => &[],
        };
        while let [first, others @ ..] = rest {
            digest = fold(digest, *first as u64);
            rest = others;
        }
        digest
    }

    /// The name given to the quota, or one made of its numbers, such as `100-per-60s`.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        match self.name {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(derived_name(self.limit, self.window)),
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

impl Hash for Policy {
    #[inline]
    fn hash<H: Hasher>(&self, into: &mut H) {
        into.write_u64(self.digest);
    }
}

/// The name of a policy without one.
pub(super) fn derived_name(limit: u32, window: u64) -> String {
    match (window % 1_000_000, window % 1_000) {
        (0, _) => format!("{limit}-per-{}s", window / 1_000_000),
        (_, 0) => format!("{limit}-per-{}ms", window / 1_000),
        _ => format!("{limit}-per-{window}us"),
    }
}

/// A step of FNV-1a, with a shift so that the low bits depend on all.
const fn fold(digest: u64, value: u64) -> u64 {
    let product = (digest ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
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
