//! Names of event types, and the patterns that choose among them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Longest name, in bytes.
pub const MAX_NAME: usize = 128;

/// The type of an event: 1 to [`MAX_NAME`] of `[a-z0-9._-]`, with no dot at either end and no two in a row.
///
/// The part before the first dot is the [topic](Kind::topic): what one transport stream carries.
///
/// ```
/// use mainstay_core::event::Kind;
///
/// assert_eq!(Kind::new("user.created")?.topic(), "user");
/// assert!(Kind::new("User Created").is_err());
/// # Ok::<(), mainstay_core::event::InvalidName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(Arc<str>);

impl Kind {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check(name).map(|()| Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first dot, or all of it.
    #[must_use]
    pub fn topic(&self) -> &str {
        topic(&self.0)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// So that a map by type can be asked with a `&str`.
impl Borrow<str> for Kind {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Kind {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Kind {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

/// Which types a subscription takes: one, `user.created`, or all that begin alike, `user.*`.
///
/// The star stands only at the end, after a dot: a pattern lies within one topic.
///
/// ```
/// use mainstay_core::event::{Kind, Pattern};
///
/// let pattern = Pattern::new("user.*")?;
/// assert!(pattern.matches(&Kind::new("user.role.changed")?));
/// assert!(!pattern.matches(&Kind::new("user")?));
/// assert!(Pattern::new("*").is_err());
/// # Ok::<(), mainstay_core::event::InvalidName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn new(pattern: &str) -> Result<Self, InvalidName> {
        check(pattern.strip_suffix(".*").unwrap_or(pattern))
            .map_err(|invalid| InvalidName { name: excerpt(pattern), ..invalid })?;
        Ok(Self(pattern.into()))
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one topic its types belong to.
    #[must_use]
    pub fn topic(&self) -> &str {
        topic(&self.0)
    }

    /// Whether it takes this type.
    #[must_use]
    pub fn matches(&self, kind: &Kind) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => kind.0.starts_with(prefix),
            None => kind.0 == self.0,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that is no type and no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event type {name:?} {reason}")]
#[non_exhaustive]
pub struct InvalidName {
    /// Its beginning.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

fn check(name: &str) -> Result<(), InvalidName> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let reason = if !(1..=MAX_NAME).contains(&name.len()) {
        "must have 1 to 128 characters"
    } else if !name.bytes().all(allowed) {
        "may only have a-z, 0-9, '.', '_' and '-'"
    } else if name.split('.').any(str::is_empty) {
        "must not begin or end with a dot, or have two in a row"
    } else {
        return Ok(());
    };
    Err(InvalidName { name: excerpt(name), reason })
}

/// An invalid name may be a mebibyte long.
fn excerpt(name: &str) -> String {
    name[..name.floor_char_boundary(MAX_NAME)].to_owned()
}

fn topic(name: &str) -> &str {
    name.split_once('.').map_or(name, |(topic, _)| topic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_have_a_small_alphabet() {
        assert!(
            ["a", "user.created", "a-b_c.9", &"x".repeat(128)].iter().all(|name| Kind::new(name).is_ok())
        );
        let bad = ["", ".", "a.", ".a", "a..b", "A", "a b", "a\n", "é", "a*", "{a}", &"x".repeat(129)];
        assert!(bad.iter().all(|name| Kind::new(name).is_err()), "{bad:?}");
    }

    #[test]
    fn the_star_stands_only_at_the_end_and_after_a_dot() {
        assert!(["a.*", "a.b.*", "a"].iter().all(|pattern| Pattern::new(pattern).is_ok()));
        let bad = ["*", ".*", "a*", "a.*.b", "a.**", "a..*", ""];
        assert!(bad.iter().all(|pattern| Pattern::new(pattern).is_err()), "{bad:?}");
    }

    #[test]
    fn a_refusal_quotes_no_more_than_the_beginning() {
        let refused = Kind::new(&"é".repeat(1 << 20)).unwrap_err();
        assert!(refused.to_string().len() < 300, "{refused}");
    }

    proptest! {
        #[test]
        fn a_pattern_takes_only_types_of_its_topic(pattern in "[ab.]{1,4}(\\.\\*)?", kind in "[ab.]{1,6}") {
            let (Ok(pattern), Ok(kind)) = (Pattern::new(&pattern), Kind::new(&kind)) else { return Ok(()) };
            prop_assert!(!pattern.matches(&kind) || pattern.topic() == kind.topic());
        }
    }
}
