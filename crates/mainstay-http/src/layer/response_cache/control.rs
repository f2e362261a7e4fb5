//! What `Cache-Control` says (RFC 9111 §5.2).

use std::time::Duration;

use http::{HeaderMap, header};

/// The directives that this cache knows, of a request or a response. Where several disagree, the strictest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<Duration>,
    pub(super) s_maxage: Option<Duration>,
    /// The longer of `stale-while-revalidate` and `stale-if-error` (RFC 5861).
    pub(super) stale: Option<Duration>,
}

impl Directives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for value in headers.get_all(header::CACHE_CONTROL) {
            match value.to_str() {
                Ok(text) => members(text, true).for_each(|member| found.add(member)),
                // What cannot be read may forbid anything.
                Err(_) => found.no_store = true,
            }
        }
        found
    }

    fn add(&mut self, member: &str) {
        let (name, value) = member.split_once('=').unwrap_or((member, ""));
        let value = value.trim().trim_matches('"');
        // A lifetime that is no number counts as used up (RFC 9111 §4.2.1); one that is too large, as the largest.
        let seconds = || {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            Duration::from_secs(if digits { value.parse().unwrap_or(u64::MAX) } else { 0 })
        };
        let least = |known: Option<Duration>| Some(known.map_or_else(seconds, |known| known.min(seconds())));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => self.no_store = true,
            // Qualified by field names, too: what may be kept without the fields is not worth the care.
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "only-if-cached" => self.only_if_cached = true,
            "max-age" => self.max_age = least(self.max_age),
            "s-maxage" => self.s_maxage = least(self.s_maxage),
            "stale-while-revalidate" | "stale-if-error" => self.stale = self.stale.max(Some(seconds())),
            _ => {}
        }
    }
}

/// The members of a comma-separated list, trimmed; commas in quotes do not separate. In a quoted string a
/// backslash `escapes` what follows; in an entity tag it is a character like any other.
pub(super) fn members(list: &str, escapes: bool) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let split = move |character: char| {
        let separates = character == ',' && !quoted;
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted && escapes => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        separates
    };
    list.split(split).map(str::trim).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &'static str) -> Directives {
        Directives::of(&HeaderMap::from_iter([(header::CACHE_CONTROL, value.parse().unwrap())]))
    }

    const fn seconds(count: u64) -> Option<Duration> {
        Some(Duration::from_secs(count))
    }

    #[test]
    fn directives_are_read_whatever_their_case_spacing_and_quotes() {
        let found = of(r#" Public ,MAX-AGE="60",, S-MaxAge=5 ; , stale-if-error=7,stale-while-revalidate=3"#);
        assert_eq!((found.public, found.max_age, found.stale), (true, seconds(60), seconds(7)));
        assert_eq!(found.s_maxage, seconds(0), "what is no number counts as used up");
    }

    #[test]
    fn a_comma_in_quotes_separates_nothing() {
        let found = of(r#"private="set-cookie, \", no-store", x="a,no-cache", max-age=1"#);
        assert!(found.private && !found.no_store && !found.no_cache);
        assert_eq!(found.max_age, seconds(1));
    }

    #[test]
    fn the_strictest_of_several_counts_and_no_number_overflows() {
        assert_eq!(of("max-age=9, max-age=3, max-age=99999999999999999999999").max_age, seconds(3));
        assert_eq!(of("max-age=99999999999999999999999").max_age, seconds(u64::MAX));
        for wrong in ["max-age", "max-age=-1", "max-age=+1", "max-age=1.5", "max-age="] {
            assert_eq!(of(wrong).max_age, seconds(0), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_read_forbids_to_store() {
        let mut headers = HeaderMap::new();
        headers.append(header::CACHE_CONTROL, http::HeaderValue::from_bytes(b"max-age=1, \xff").unwrap());
        assert!(Directives::of(&headers).no_store);
    }
}
