//! Names, labels and the canonical key of a series.

use smallvec::SmallVec;

/// Longest label value in bytes; longer ones are cut at a character boundary.
pub const MAX_LABEL_VALUE: usize = 128;

/// Never part of UTF-8, so no name or value can imitate another key.
const SEPARATOR: u8 = 0xff;

/// Long enough for a name and a few labels; longer keys go to the heap.
pub(super) type Key = SmallVec<[u8; 256]>;

/// Name and labels as bytes: labels sorted by name, of equal names the last, values cut, empty values
/// left out (to Prometheus an empty label is no label). The same series has the same key.
#[inline]
pub(super) fn canonical(name: &str, labels: &[(&str, &str)]) -> Key {
    let mut key = Key::new();
    key.extend_from_slice(name.as_bytes());
    if labels.is_sorted_by(|a, b| a.0 < b.0) {
        push_labels(&mut key, labels);
    } else {
        push_labels(&mut key, &sorted(labels));
    }
    key
}

fn push_labels(key: &mut Key, labels: &[(&str, &str)]) {
    for (label, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
        key.push(SEPARATOR);
        key.extend_from_slice(label.as_bytes());
        key.push(SEPARATOR);
        key.extend_from_slice(cut(value).as_bytes());
    }
}

fn sorted<'a>(labels: &[(&'a str, &'a str)]) -> SmallVec<[(&'a str, &'a str); 8]> {
    let mut sorted = SmallVec::<[(&str, &str); 8]>::new();
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

/// The labels of a key, in order.
pub(super) fn labels(key: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let mut parts = key.split(|byte| *byte == SEPARATOR).skip(1).map(text);
    std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
}

fn text(part: &[u8]) -> &str {
    std::str::from_utf8(part).expect("a key is made of strings between separators")
}

/// The labels of a key as they stand between the braces: `method="GET",status="200"`.
pub(super) fn render_labels(key: &[u8]) -> String {
    let mut out = String::new();
    for (label, value) in labels(key) {
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

    proptest! {
        #[test]
        fn a_key_gives_back_the_labels_a_map_would_hold(
            given in prop::collection::vec(("[a-d]", "\\PC{0,3}"), 0..12)
        ) {
            let model: std::collections::BTreeMap<_, _> = given.iter().cloned().collect();
            let given: Vec<_> = given.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let key = canonical("name", &given);
            let read: Vec<_> = labels(&key).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            let model: Vec<_> = model.into_iter().filter(|(_, v)| !v.is_empty()).collect();
            prop_assert_eq!(read, model);
        }
    }
}
