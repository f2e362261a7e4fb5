//! From `?` to `$1`, `$2`, …
//!
//! The driver keeps prepared statements by their text, but PostgreSQL prepares one for given types of parameters. So
//! the text is made to tell the types as well: a `NULL`, whose type only the server can infer, does not spoil the
//! statement for the number that comes next.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, PoisonError, RwLock};

use crate::Value;
use crate::backend::Statement;

/// Rewritten texts, by where the original lies: all of them are `'static`.
#[derive(Default)]
pub(super) struct Texts(RwLock<HashMap<Key, Arc<str>>>);

type Key = (usize, usize, u128);

/// Values whose kinds fit into a key at three bits each.
const SIGNED: usize = 42;

impl Texts {
    /// The text for these values, and whether it may be kept prepared.
    pub(super) fn text(&self, statement: &Statement) -> (Arc<str>, bool) {
        if statement.values.len() > SIGNED {
            return (rewrite(statement.sql).into(), false);
        }
        let kinds = statement.values.iter().fold(0, |kinds, value| kinds << 3 | u128::from(kind(value).0));
        let key = (statement.sql.as_ptr().addr(), statement.sql.len(), kinds);
        if let Some(text) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return (Arc::clone(text), true);
        }
        let mut text = rewrite(statement.sql);
        if !statement.values.is_empty() {
            let kinds: String = statement.values.iter().map(|value| kind(value).1).collect();
            write!(text, " /*{kinds}*/").expect("a string takes all text");
        }
        let text: Arc<str> = text.into();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&text));
        (text, true)
    }
}

/// Never 0, so that a list of them is not the beginning of another.
fn kind(value: &Value) -> (u8, char) {
    match value {
        Value::Null => (1, 'n'),
        Value::Bool(_) => (2, 'b'),
        Value::Int(_) => (3, 'i'),
        Value::Real(_) => (4, 'r'),
        Value::Text(_) => (5, 't'),
        Value::Blob(_) => (6, 'x'),
    }
}

/// Numbers the placeholders; a question mark in a string, a quoted name or a comment is none.
fn rewrite(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len() + 16);
    let mut rest = sql;
    let mut count = 0;
    while let Some(first) = rest.chars().next() {
        let length = opaque(rest, text.chars().next_back());
        if length > 0 {
            text.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        if first == '?' {
            count += 1;
            write!(text, "${count}").expect("a string takes all text");
        } else {
            text.push(first);
        }
        rest = &rest[first.len_utf8()..];
    }
    text
}

/// How many bytes at the start are a string, a quoted name or a comment.
fn opaque(sql: &str, before: Option<char>) -> usize {
    let to = |end: Option<usize>| end.unwrap_or(sql.len());
    match sql.as_bytes() {
        [b'\'', ..] => quoted(sql, b'\'', matches!(before, Some('e' | 'E'))),
        [b'"', ..] => quoted(sql, b'"', false),
        [b'-', b'-', ..] => to(sql.find('\n')),
        [b'/', b'*', ..] => comment(sql),
        // A tag such as `$body$` or `$$` opens a string that the same tag closes.
        [b'$', ..] if !before.is_some_and(|c| c.is_alphanumeric() || c == '_') => {
            let name = sql[1..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map(|end| end + 1);
            match name {
                Some(end)
                    if sql[end..].starts_with('$') && !sql[1..].starts_with(|c: char| c.is_ascii_digit()) =>
                {
                    let tag = &sql[..=end];
                    to(sql[tag.len()..].find(tag).map(|at| at + 2 * tag.len()))
                }
                _ => 0,
            }
        }
        _ => 0,
    }
}

/// A doubled quote stands for itself, and so does what follows a backslash where that escapes.
fn quoted(sql: &str, quote: u8, backslash: bool) -> usize {
    let bytes = sql.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        if bytes[at] == b'\\' && backslash {
            at += 2;
        } else if bytes[at] != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    sql.len()
}

/// Comments nest.
fn comment(sql: &str) -> usize {
    let bytes = sql.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    sql.len()
}

#[cfg(test)]
mod tests {
    use super::{Texts, rewrite};
    use crate::Value;
    use crate::backend::Statement;

    #[test]
    fn placeholders_are_numbered_and_what_only_looks_like_one_is_left() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("SELECT ?, ?", "SELECT $1, $2"),
            ("a = ? AND b IN (?,?)", "a = $1 AND b IN ($2,$3)"),
            ("'?' = ?", "'?' = $1"),
            ("'it''s ?' = ?", "'it''s ?' = $1"),
            (r"E'\'?' = ?", r"E'\'?' = $1"),
            (r"'\' = ?", r"'\' = $1"),
            ("\"a?\"\"?\" = ?", "\"a?\"\"?\" = $1"),
            ("-- why?\n?", "-- why?\n$1"),
            ("? -- why?", "$1 -- why?"),
            ("/* ? /* ? */ ? */ ?", "/* ? /* ? */ ? */ $1"),
            ("$$ ? $$ ?", "$$ ? $$ $1"),
            ("$body$ ? $$ ? $body$ ?", "$body$ ? $$ ? $body$ $1"),
            ("a$b$ ?", "a$b$ $1"),
            ("é ? 'ü?' ?", "é $1 'ü?' $2"),
            ("'open ?", "'open ?"),
            ("/* open ?", "/* open ?"),
            ("E'\\", "E'\\"),
            ("", ""),
        ] {
            assert_eq!(rewrite(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_text_tells_the_kinds_of_its_values_and_is_made_once() {
        let texts = Texts::default();
        let with = |values: Vec<Value>| texts.text(&Statement { values, ..Statement::new("SELECT ?, ?") });
        let (numbers, kept) = with(vec![1.into(), 2.into()]);
        assert_eq!((&*numbers, kept), ("SELECT $1, $2 /*ii*/", true));
        assert_eq!(&*with(vec![Value::Null, 2.into()]).0, "SELECT $1, $2 /*ni*/");
        assert!(std::sync::Arc::ptr_eq(&with(vec![3.into(), 4.into()]).0, &numbers));
        assert!(!with(vec![1.into(); 43]).1);
    }
}
