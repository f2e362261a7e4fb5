//! The token of a request.

use http::{HeaderMap, header};

/// Longest header that is looked at, in bytes.
const LONGEST: usize = 8 << 10;

/// The text behind `Bearer` in the one `Authorization` header (RFC 6750, section 2.1); `None` where there is no such
/// header, more than one, or one that is no bearer's.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let text = only.to_str().ok().filter(|text| text.len() <= LONGEST)?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(plain)).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn a_token_is_what_follows_bearer_in_the_only_header() {
        for good in ["Bearer a.b-c_d~+/=", "bearer a.b-c_d~+/=", "BEARER  a.b-c_d~+/="] {
            assert_eq!(of(&[good.as_bytes()]).as_deref(), Some("a.b-c_d~+/="), "{good}");
        }
        let long = format!("Bearer {}", "a".repeat(LONGEST));
        for bad in
            ["", "Bearer", "Bearer ", "Bearer a b", "Basic YTpi", "Bearera", "Bearer a,Bearer b", &long]
        {
            assert_eq!(of(&[bad.as_bytes()]), None, "{bad}");
        }
        assert_eq!(of(&[b"Bearer \xff"]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[b"Bearer a", b"Bearer a"]), None, "which of them?");
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.append(header::AUTHORIZATION, value);
                if let Some(token) = bearer(&headers) {
                    prop_assert!(!token.is_empty() && !token.contains(' '));
                }
            }
        }
    }
}
