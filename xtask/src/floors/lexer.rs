//! Just enough of Rust's lexer to see paths: comments, strings and characters are dropped.

/// A word or a single character of punctuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Mark(char),
}

/// The tokens of `source`. Text that does not close ends the input: rustc will say so.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skip = skipped(rest);
        if skip > 0 {
            rest = rest.get(skip..).unwrap_or_default();
            continue;
        }
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if word > 0 {
            tokens.push(Token::Word(&rest[..word]));
        } else if !first.is_whitespace() {
            tokens.push(Token::Mark(first));
        }
        rest = &rest[word.max(first.len_utf8())..];
    }
    tokens
}

/// Length of the comment or literal that `text` starts with; 0 if it starts with neither.
fn skipped(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    let prefix = ["br", "cr", "b", "c", "r", ""];
    let prefix = prefix.iter().find(|prefix| text.starts_with(**prefix)).map_or(0, |prefix| prefix.len());
    let body = &text[prefix..];
    if text[..prefix].ends_with('r') && body.starts_with(['"', '#']) {
        let hashes = body.len() - body.trim_start_matches('#').len();
        if !body[hashes..].starts_with('"') {
            return prefix + hashes; // `r#type`: the prefix of a raw identifier
        }
        let end = format!("\"{}", "#".repeat(hashes));
        let start = prefix + hashes + 1;
        return text[start..].find(&end).map_or(text.len(), |at| start + at + end.len());
    }
    match body.chars().next() {
        Some('"') => prefix + quoted(body, '"'),
        Some('\'') => character(body).map_or(0, |length| prefix + length),
        _ => 0,
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Length of a character literal, or `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        return Some(quoted(text, '\''));
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}

/// Length of a literal that starts with `quote` and ends with the next one that is not escaped.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{Token, tokens};

    fn words(source: &str) -> Vec<&str> {
        let word = |token| match token {
            Token::Word(word) => Some(word),
            Token::Mark(_) => None,
        };
        tokens(source).into_iter().filter_map(word).collect()
    }

    #[test]
    fn comments_and_literals_are_dropped() {
        assert_eq!(words("a // x\n b /* x /* y */ z */ c"), ["a", "b", "c"]);
        assert_eq!(words(r##"a "x \" y" b r#"x " y"# c b"x" d"##), ["a", "b", "c", "d"]);
        assert_eq!(words(r"a '\'' b 'x' c '{' d b'x' e"), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn lifetimes_and_words_that_look_like_prefixes_are_kept() {
        assert_eq!(
            words("fn bar<'a>(r: &'a str, b: c) r#type"),
            ["fn", "bar", "a", "r", "a", "str", "b", "c", "type"]
        );
    }

    #[test]
    fn text_that_never_closes_ends_the_input() {
        for source in ["a \"x", "a /* x", "a r#\"x\"", "a '\\"] {
            assert_eq!(words(source), ["a"], "{source}");
        }
    }
}
