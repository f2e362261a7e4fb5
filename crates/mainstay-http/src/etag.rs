//! Conditional requests (RFC 9110 §13): a client that names the version it knows gets `304` instead
//! of the body, and cannot overwrite a version it has not seen.

use std::fmt;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::Problem;

/// A strong entity tag.
///
/// ```
/// use mainstay_http::ETag;
/// assert_eq!(ETag::new("7").to_string(), "\"7\"");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// A tag of `opaque`; characters that a tag may not hold are percent-encoded.
    #[must_use]
    pub fn new(opaque: impl fmt::Display) -> Self {
        let mut tag = String::from("\"");
        for byte in opaque.to_string().bytes() {
            match byte {
                b'"' | b'%' | b',' | ..=b' ' | 0x7f.. => tag.push_str(&format!("%{byte:02X}")),
                _ => tag.push(char::from(byte)),
            }
        }
        tag.push('"');
        Self(tag)
    }

    /// The header value.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a tag holds visible ASCII only")
    }

    /// Whether `If-None-Match` lists this version, by weak comparison: answer `304`.
    #[must_use]
    pub fn is_known_to(&self, headers: &HeaderMap) -> bool {
        listed(headers, &header::IF_NONE_MATCH)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.0)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a change may require of the version it changes: the `If-Match` header.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IfMatch {
    /// No header: change whatever is there.
    Anything,
    /// `*`: change it if it exists at all.
    Exists,
    /// Change it only if its tag is one of these, by strong comparison.
    OneOf(Vec<String>),
}

impl IfMatch {
    /// Reads the header.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        if !headers.contains_key(header::IF_MATCH) {
            return Self::Anything;
        }
        let tags: Vec<String> = listed(headers, &header::IF_MATCH).map(str::to_owned).collect();
        if tags.iter().any(|tag| tag == "*") { Self::Exists } else { Self::OneOf(tags) }
    }

    /// Passes if the current version satisfies the header.
    ///
    /// # Errors
    /// `412 Precondition Failed`, ready to be returned.
    pub fn check(&self, current: &ETag) -> Result<(), Problem> {
        match self {
            Self::OneOf(tags) if !tags.contains(&current.0) => Err(Problem::precondition_failed()),
            _ => Ok(()),
        }
    }
}

/// `304 Not Modified` with the tag.
#[must_use]
pub fn not_modified(tag: &ETag) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(header::ETAG, tag.header());
    response
}

/// The comma-separated members of a header that may occur more than once. Tags hold no comma here,
/// because [`ETag::new`] encodes it.
fn listed<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn if_none_match_knows_a_version_listed_weakly_or_by_star() {
        let tag = ETag::new(7);
        for known in ["\"7\"", "W/\"7\"", "\"6\", \"7\"", "*"] {
            assert!(tag.is_known_to(&headers(header::IF_NONE_MATCH, known)), "{known}");
        }
        assert!(!tag.is_known_to(&headers(header::IF_NONE_MATCH, "\"70\"")));
        assert!(!tag.is_known_to(&HeaderMap::new()));
    }

    #[test]
    fn if_match_refuses_a_stale_or_weak_version() {
        let current = ETag::new(7);
        assert!(IfMatch::from_headers(&HeaderMap::new()).check(&current).is_ok());
        for passes in ["\"7\"", "*", "\"1\",\"7\""] {
            assert!(IfMatch::from_headers(&headers(header::IF_MATCH, passes)).check(&current).is_ok());
        }
        for stale in ["\"6\"", "W/\"7\"", "", "7"] {
            assert!(
                IfMatch::from_headers(&headers(header::IF_MATCH, stale)).check(&current).is_err(),
                "{stale}"
            );
        }
    }

    #[test]
    fn a_tag_of_hostile_text_is_still_a_header() {
        let tag = ETag::new("a\"b\r\nc%ü");
        assert_eq!(tag.to_string(), "\"a%22b%0D%0Ac%25%C3%BC\"");
        let _ = tag.header();
    }
}
