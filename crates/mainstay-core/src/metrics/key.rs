//! Names, labels and the canonical key of a series.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use papaya::Equivalent;
use smallvec::SmallVec;

/// Longest label value in bytes; longer ones are cut at a character boundary.
pub const MAX_LABEL_VALUE: usize = 128;

/// Never part of UTF-8, so no name or value can imitate another key.
const SEPARATOR: u8 = 0xff;

/// Name and labels in canonical order, in one piece; what the index holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(Arc<[u8]>);

/// A key as it is asked for, in its parts: nothing is copied to find it.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pub(super) name: &'a str,
    /// Sorted by name, without duplicates.
    labels: SortedLabels<'a>,
}

type LabelVec<'a> = SmallVec<[(&'a str, &'a str); 8]>;

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it lives on the stack of one call; a box would allocate")]
enum SortedLabels<'a> {
    Given(&'a [(&'a str, &'a str)]),
    Made(LabelVec<'a>),
}

impl<'a> Query<'a> {
    /// The same series has the same key: labels are sorted by name, of equal names the last counts,
    /// values are cut, empty values are left out (to Prometheus an empty label is no label).
    #[inline]
    pub(super) fn new(name: &'a str, labels: &'a [(&'a str, &'a str)]) -> Self {
        let labels = if labels.is_sorted_by(|a, b| a.0 < b.0) {
            SortedLabels::Given(labels)
        } else {
            SortedLabels::Made(sorted(labels))
        };
        Self { name, labels }
    }

    #[inline]
    pub(super) fn labels(&self) -> &[(&'a str, &'a str)] {
        match &self.labels {
            SortedLabels::Given(labels) => labels,
            SortedLabels::Made(labels) => labels,
        }
    }

    /// Whether `test` holds for the name and then each label name and value.
    #[inline]
    fn all_parts(&self, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        let mut given = self.labels().iter().filter(|(_, value)| !value.is_empty());
        test(self.name.as_bytes())
            && given.all(|(label, value)| test(label.as_bytes()) && test(cut(value).as_bytes()))
    }

    pub(super) fn to_key(&self) -> Key {
        let mut key = Vec::new();
        self.all_parts(|part| {
            if !key.is_empty() {
                key.push(SEPARATOR);
            }
            key.extend_from_slice(part);
            true
        });
        Key(key.into())
    }
}

impl Hash for Query<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.all_parts(|part| {
            state.write(part);
            true
        });
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.split(|byte| *byte == SEPARATOR).for_each(|part| state.write(part));
    }
}

impl Equivalent<Key> for Query<'_> {
    #[inline]
    fn equivalent(&self, key: &Key) -> bool {
        let mut rest = Some(&*key.0);
        let same = self.all_parts(|part| match rest.and_then(|rest| rest.strip_prefix(part)) {
            Some([SEPARATOR, next @ ..]) => {
                rest = Some(next);
                true
            }
            // This was the last part of the key, so it must be the last one asked for.
            Some([]) => rest.take().is_some(),
            _ => false,
        });
        same && rest.is_none()
    }
}

fn sorted<'a>(labels: &[(&'a str, &'a str)]) -> LabelVec<'a> {
    let mut sorted = LabelVec::new();
    for label in labels {
        match sorted.binary_search_by(|known| known.0.cmp(label.0)) {
            Ok(same) => sorted[same] = *label,
            Err(place) => sorted.insert(place, *label),
        }
    }
    sorted
}

fn cut(value: &str) -> &str {
    if value.len() <= MAX_LABEL_VALUE { value } else { &value[..value.floor_char_boundary(MAX_LABEL_VALUE)] }
}

impl Key {
    /// The labels, in order.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.0.split(|byte| *byte == SEPARATOR).skip(1).map(text);
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }

    /// The labels as they stand between the braces: `method="GET",status="200"`.
    pub(super) fn render_labels(&self) -> String {
        let mut out = String::new();
        for (label, value) in self.labels() {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(label);
            out.push_str("=\"");
            escape(&mut out, value, true);
            out.push('"');
        }
        out
    }
}

fn text(part: &[u8]) -> &str {
    std::str::from_utf8(part).expect("a key is made of strings between separators")
}

/// Writes `text` with backslash and line feed escaped, and the double quote if asked for.
pub(super) fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub(super) fn is_metric_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// As a metric's name, but without colons and not starting with the reserved `__`.
pub(super) fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.contains(':') && !name.starts_with("__")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::hash::BuildHasher;

    #[test]
    fn names_are_validated() {
        assert!(["a", "_", ":", "http_requests_total", "a9:b"].into_iter().all(is_metric_name));
        assert!(!["", "9a", "a-b", "a b", "ä", "a\n"].into_iter().any(is_metric_name));
        assert!(["a", "_a", "le"].into_iter().all(is_label_name));
        assert!(!["", "a:b", "__name__", "1"].into_iter().any(is_label_name));
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        let value = format!("{}ä", "x".repeat(MAX_LABEL_VALUE - 1));
        assert_eq!(cut(&value), "x".repeat(MAX_LABEL_VALUE - 1));
        assert_eq!(cut(&value[..MAX_LABEL_VALUE - 1]).len(), MAX_LABEL_VALUE - 1);
    }

    fn hash_of(value: &impl Hash) -> u64 {
        foldhash::fast::FixedState::with_seed(1).hash_one(value)
    }

    proptest! {
        #[test]
        fn a_query_finds_its_own_key_and_no_other(
            one in prop::collection::vec(("[ab]{0,2}", "[ab]{0,2}"), 0..4),
            other in prop::collection::vec(("[ab]{0,2}", "[ab]{0,2}"), 0..4),
        ) {
            let one: Vec<_> = one.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let other: Vec<_> = other.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let (one, other) = (Query::new("n", &one), Query::new("n", &other));
            prop_assert_eq!(hash_of(&one), hash_of(&one.to_key()));
            prop_assert_eq!(one.equivalent(&other.to_key()), one.to_key() == other.to_key());
        }

        #[test]
        fn a_key_gives_back_the_labels_a_map_would_hold(
            given in prop::collection::vec(("[a-d]", "\\PC{0,3}"), 0..12)
        ) {
            let model: std::collections::BTreeMap<_, _> = given.iter().cloned().collect();
            let given: Vec<_> = given.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let query = Query::new("name", &given);
            let key = query.to_key();
            prop_assert!(query.equivalent(&key));
            let read: Vec<_> = key.labels().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            let model: Vec<_> = model.into_iter().filter(|(_, v)| !v.is_empty()).collect();
            prop_assert_eq!(read, model);
        }
    }
}
