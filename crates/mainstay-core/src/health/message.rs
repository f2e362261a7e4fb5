//! Makes the text of an error fit for the body of a health report.

const MAX_CHARS: usize = 200;

/// One line of at most 200 characters without control characters and without the credentials that
/// connection errors like to quote (`scheme://user:password@host`).
pub(super) fn safe(text: &str) -> String {
    without_credentials(text).chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CHARS).collect()
}

/// Removes too much rather than too little: everything between `://` and the last `@` of the word.
fn without_credentials(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let word = after.find(char::is_whitespace).unwrap_or(after.len());
        rest = match after[..word].rfind('@') {
            Some(end) => {
                clean.push_str("***");
                &after[end..]
            }
            None => after,
        };
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_urls_are_removed() {
        assert_eq!(
            safe("cannot reach postgres://app:p@ss/w@db:5432/users or redis://:key@cache, gave up"),
            "cannot reach postgres://***@db:5432/users or redis://***@cache, gave up"
        );
        assert_eq!(safe("GET https://example.com/a failed"), "GET https://example.com/a failed");
    }

    #[test]
    fn the_text_is_one_bounded_line() {
        assert_eq!(safe("a\r\nb\u{1b}[31m"), "a  b [31m");
        assert_eq!(safe(&"é".repeat(1000)).chars().count(), 200);
    }
}
