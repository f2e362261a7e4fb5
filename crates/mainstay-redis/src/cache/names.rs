//! What keys and tags are called on the server, and what they were called before.

use bytes::Bytes;

use mainstay_core::key::{Key, Space};

/// The part of the server's keys that belongs to one cache.
#[derive(Debug)]
pub(super) struct Names {
    values: Space,
    tags: Space,
    value_prefix: String,
    tag_prefix: String,
}

/// Whose server key changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A value's.
    Value(String),
    /// A tag's epoch.
    Tag(String),
}

const VALUE: &str = "v";
const LEASE: &str = "le";
const VERSION: &str = "n";
const CHANNEL: &str = "c";
const EPOCH: &str = "e";

impl Names {
    pub(super) fn new(namespace: &str) -> Self {
        let (values, tags) = (Space::new(namespace, "cache"), Space::new(namespace, "tag"));
        let (value_prefix, tag_prefix) = (prefix(&values), prefix(&tags));
        Self { values, tags, value_prefix, tag_prefix }
    }

    pub(super) fn value(&self, key: Key<'_>) -> String {
        self.values.written(key, VALUE)
    }

    pub(super) fn lease(&self, key: Key<'_>) -> String {
        self.values.written(key, LEASE)
    }

    pub(super) fn version(&self, key: Key<'_>) -> String {
        self.values.written(key, VERSION)
    }

    pub(super) fn channel(&self, key: Key<'_>) -> String {
        self.values.written(key, CHANNEL)
    }

    pub(super) fn epoch(&self, tag: Key<'_>) -> String {
        self.tags.written(tag, EPOCH)
    }

    /// Whether a server key has its name in it: a long name is a digest there, and there is no way back.
    pub(super) fn is_spelled_out(&self, written: &str) -> bool {
        let name =
            written.strip_prefix(&*self.value_prefix).or_else(|| written.strip_prefix(&*self.tag_prefix));
        name.is_some_and(|name| !name.starts_with("%-"))
    }

    /// The name in a server key; `None` if it is no value's and no tag's of this cache.
    pub(super) fn named(&self, written: &Bytes) -> Option<Named> {
        let written = std::str::from_utf8(written).ok()?;
        let name = |prefix: &str, suffix: &str| {
            let encoded = written.strip_prefix(prefix)?.strip_suffix(suffix)?.strip_suffix("}:")?;
            decoded(encoded)
        };
        name(&self.value_prefix, VALUE)
            .map(Named::Value)
            .or_else(|| name(&self.tag_prefix, EPOCH).map(Named::Tag))
    }
}

/// What all keys of a space begin with.
fn prefix(space: &Space) -> String {
    let any = space.written(Key::new("x").expect("it is a name"), "");
    any.strip_suffix("x}:").expect("a short name is written as it is").to_owned()
}

/// The name that was percent-encoded.
fn decoded(encoded: &str) -> Option<String> {
    let mut name = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        name.push(if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_name_is_found_again_unless_it_is_a_digest(name in ".{1,300}", namespace in ".{1,20}") {
            let names = Names::new(&namespace);
            let Ok(key) = Key::new(&name) else { return Ok(()) };
            let (value, tag) = (names.value(key), names.epoch(key));
            prop_assert_eq!(names.is_spelled_out(&value), names.is_spelled_out(&tag));
            if names.is_spelled_out(&value) {
                prop_assert_eq!(names.named(&value.into()), Some(Named::Value(name.clone())));
                prop_assert_eq!(names.named(&tag.into()), Some(Named::Tag(name.clone())));
            } else {
                prop_assert_eq!(names.named(&value.into()), None);
            }
            prop_assert_eq!(names.named(&names.lease(key).into()), None);
            prop_assert_eq!(names.named(&names.version(key).into()), None);
        }

        #[test]
        fn whatever_else_changes_is_nobody_s(bytes: Vec<u8>) {
            prop_assert_eq!(Names::new("svc").named(&bytes.into()), None);
        }
    }
}
