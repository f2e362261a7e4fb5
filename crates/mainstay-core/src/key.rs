//! Names that come from users, and what they become in a shared store.
//!
//! A name may hold anything: braces, globs, line breaks, NUL. In this process it is a map's key and can do
//! no harm. On a server it is written as `ms:{<namespace>:<kind>:<name>}:<suffix>`, percent-encoded but for
//! `[A-Za-z0-9._~-]`, so that it can neither leave its braces (all keys of one operation lie in one slot
//! of a Redis Cluster) nor reach another namespace; a long one is written as its SHA-256.

use std::fmt::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Longest name, in bytes.
pub const MAX_NAME: usize = 2048;

/// Longest encoded name that is written out, in bytes; beyond it stands the digest.
const MAX_WRITTEN: usize = 256;

/// A checked name: not empty, at most [`MAX_NAME`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key<'a>(&'a str);

impl<'a> Key<'a> {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidKey`], which says what is wrong with it.
    pub const fn new(name: &'a str) -> Result<Self, InvalidKey> {
        match name.len() {
            0 => Err(InvalidKey::Empty),
            1..=MAX_NAME => Ok(Self(name)),
            length => Err(InvalidKey::TooLong { length }),
        }
    }

    /// The name as the user wrote it.
    #[must_use]
    pub const fn name(self) -> &'a str {
        self.0
    }
}

/// A name that cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// It has no characters.
    #[error("key must not be empty")]
    Empty,
    /// It is longer than [`MAX_NAME`].
    #[error("key is {length} bytes long, at most {MAX_NAME} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}

/// The part of a shared store that one primitive of one service owns. Cheap to clone.
///
/// ```
/// use mainstay_core::key::{Key, Space};
///
/// let space = Space::new("orders", "lock");
/// let key = Key::new("customer:7/{x}*")?;
/// assert_eq!(space.written(key, "l"), "ms:{orders:lock:customer%3A7%2F%7Bx%7D%2A}:l");
/// # Ok::<(), mainstay_core::key::InvalidKey>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    prefix: Arc<str>,
}

impl Space {
    /// The space of `kind` in a service's `namespace`.
    #[must_use]
    pub fn new(namespace: &str, kind: &str) -> Self {
        let mut prefix = String::from("ms:{");
        encode(namespace, &mut prefix);
        prefix.push(':');
        encode(kind, &mut prefix);
        prefix.push(':');
        Self { prefix: prefix.into() }
    }

    /// The key as a shared store sees it.
    #[must_use]
    pub fn written(&self, key: Key<'_>, suffix: &str) -> String {
        let mut written = String::with_capacity(self.prefix.len() + key.name().len() + suffix.len() + 16);
        written.push_str(&self.prefix);
        let begin = written.len();
        encode(key.name(), &mut written);
        if written.len() - begin > MAX_WRITTEN {
            written.truncate(begin);
            written.push('%'); // an encoded name has two digits after each of these: no name reads like a digest
            digest(key.name(), &mut written);
        }
        written.push_str("}:");
        written.push_str(suffix);
        written
    }

    /// A glob that matches every key written with this suffix, and no other.
    #[must_use]
    pub fn pattern(&self, suffix: &str) -> String {
        format!("{}*}}:{suffix}", self.prefix)
    }

    /// The name that was written as `key`; of a long one its digest. `None` if it is not of this space.
    #[must_use]
    pub fn name(&self, key: &str) -> Option<String> {
        let (written, _suffix) = key.strip_prefix(&*self.prefix)?.split_once("}:")?;
        if written.starts_with("%-") {
            return Some(written.into());
        }
        decode(written)
    }
}

fn decode(written: &str) -> Option<String> {
    let mut parts = written.split('%');
    let mut name = Vec::from(parts.next()?);
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        name.push(u8::from_str_radix(digits, 16).ok()?);
        name.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(name).ok()
}

fn encode(name: &str, into: &mut String) {
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._~-".contains(&byte) {
            into.push(char::from(byte));
        } else {
            write!(into, "%{byte:02X}").expect("a string takes what is written");
        }
    }
}

fn digest(name: &str, into: &mut String) {
    into.push('-');
    for byte in Sha256::digest(name) {
        write!(into, "{byte:02x}").expect("a string takes what is written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str) -> String {
        Space::new("svc", "cache").written(Key::new(name).unwrap(), "v")
    }

    #[test]
    fn a_name_cannot_leave_its_braces() {
        let nasty = written("}:{*?\r\n\0%..%2f/é");
        assert_eq!(nasty, "ms:{svc:cache:%7D%3A%7B%2A%3F%0D%0A%00%25..%252f%2F%C3%A9}:v");
    }

    #[test]
    fn a_long_name_is_written_as_its_digest() {
        let long = written(&"x".repeat(257));
        assert_eq!(long.len(), "ms:{svc:cache:%-}:v".len() + 64);
        assert_ne!(long, written(&"x".repeat(258)));
        assert!(written(&"x".repeat(256)).contains("xxx"));
    }

    #[test]
    fn a_written_name_is_read_as_it_was() {
        let space = Space::new("s:1", "lock");
        for name in ["a", "}:{*?\r\n\0%..%2f/é", "%-x"] {
            let written = space.written(Key::new(name).unwrap(), "x:1");
            assert_eq!(space.name(&written).as_deref(), Some(name));
        }
        let digest = space.name(&space.written(Key::new(&"x".repeat(257)).unwrap(), "l")).unwrap();
        assert!(digest.starts_with("%-"), "{digest}");
        for foreign in
            ["", "ms:{s:lock:a}:l", "ms:{s%3A1:lock:a", "ms:{s%3A1:lock:%}:l", "ms:{s%3A1:lock:%é}:l"]
        {
            assert_eq!(space.name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn what_cannot_be_a_key_says_why() {
        assert_eq!(Key::new(""), Err(InvalidKey::Empty));
        assert!(Key::new(&"x".repeat(MAX_NAME)).is_ok());
        let refused = Key::new(&"x".repeat(1 << 20)).unwrap_err();
        assert_eq!(refused.to_string(), "key is 1048576 bytes long, at most 2048 are allowed");
    }

    #[test]
    fn namespaces_do_not_reach_each_other() {
        let key = Key::new("b:c").unwrap();
        assert_ne!(Space::new("a:b", "k").written(key, "v"), Space::new("a", "b:k").written(key, "v"));
    }
}
