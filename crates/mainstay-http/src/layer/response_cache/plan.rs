//! Which key a request's answer has, if it may be answered from the cache at all.

use axum::body::HttpBody;
use axum::extract::Request;
use http::{HeaderMap, HeaderName, Uri, header};
use mainstay_core::key::MAX_NAME;

use super::ResponseCacheRule;
use super::control::Directives;
use super::digest::Digest;

/// Who may see an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Whoever asks without credentials.
    Everyone,
    /// Everyone, and yet this request carries credentials: only what is explicitly for all is kept. It has a key
    /// of its own, so that nobody can keep others from the cache by adding a cookie.
    Credentialed,
    /// One caller.
    One,
}

/// How a request is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) key: String,
    pub(super) audience: Audience,
}

/// Why a request passes by, as `Cache-Status` says it.
pub(super) const BYPASS: &str = "Mainstay; fwd=bypass";
/// The client wants the handler's own word.
pub(super) const REQUEST: &str = "Mainstay; fwd=request";

/// Headers that ask for something else than the whole answer.
const PARTIAL: [HeaderName; 5] =
    [header::RANGE, header::IF_RANGE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE, header::UPGRADE];
/// Room for a second key's digest.
const MAX_KEY: usize = MAX_NAME - 64;

impl Plan {
    /// # Errors
    /// The value of `Cache-Status`, if the request passes by.
    pub(super) fn of(
        rule: &ResponseCacheRule,
        request: &Request,
        uri: &Uri,
        wish: &Directives,
    ) -> Result<Self, &'static str> {
        let headers = request.headers();
        if wish.no_store || wish.no_cache || wish.max_age.is_some_and(|age| age.is_zero()) {
            return Err(REQUEST);
        }
        if !request.body().is_end_stream() || PARTIAL.iter().any(|name| headers.contains_key(name)) {
            return Err(BYPASS);
        }
        let identity = rule.identity.as_ref().and_then(|name| name(request));
        let credentials =
            [header::AUTHORIZATION, header::COOKIE].iter().any(|name| headers.contains_key(name));
        let audience = match &identity {
            Some(_) => Audience::One,
            None if credentials => Audience::Credentialed,
            None => Audience::Everyone,
        };
        let mut key = target_key(rule, uri).ok_or(BYPASS)?;
        if audience != Audience::Everyone || !rule.vary.is_empty() {
            let who = Digest::default().part(&[audience as u8]).part(identity.unwrap_or_default().as_bytes());
            key.push('#');
            key.push_str(&select(who, rule.vary.iter().map(HeaderName::as_str), headers));
        }
        if key.len() > MAX_KEY { Err(BYPASS) } else { Ok(Self { key, audience }) }
    }
}

/// What tells the requests of one key apart whose answers depend on these headers.
pub(super) fn selection<'a>(names: impl Iterator<Item = &'a str>, headers: &HeaderMap) -> String {
    select(Digest::default(), names, headers)
}

fn select<'a>(mut digest: Digest, names: impl Iterator<Item = &'a str>, headers: &HeaderMap) -> String {
    for name in names {
        digest = digest.part(name.as_bytes());
        // Each line for itself, after their number: none is not the same as an empty one.
        let lines = headers.get_all(name);
        digest = digest.part(&lines.iter().count().to_be_bytes());
        digest = lines.iter().fold(digest, |digest, line| digest.part(line.as_bytes().trim_ascii()));
    }
    digest.hex()
}

/// Path and query; nothing, if the query is too long. Neither holds a `#`, and the path no `?`.
fn target_key(rule: &ResponseCacheRule, uri: &Uri) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let within = query.len() <= rule.max_query;
    within.then(|| format!("http:{}?{}", uri.path(), canonical(query, |name| rule.knows_parameter(name))))
}

/// The parameters that are known, sorted by name. Those of one name keep their order, and all their spelling: a
/// handler that reads the query in its own way must not get the answer of another query.
fn canonical(query: &str, known: impl Fn(&str) -> bool) -> String {
    let mut parameters: Vec<(String, &str)> = query
        .split('&')
        .filter_map(|raw| {
            let (name, _) = form_urlencoded::parse(raw.as_bytes()).next()?;
            known(&name).then(|| (name.into_owned(), raw))
        })
        .collect();
    parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut canonical = String::with_capacity(query.len());
    for (_, raw) in parameters {
        if !canonical.is_empty() {
            canonical.push('&');
        }
        canonical.push_str(raw);
    }
    canonical
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What a handler can make of a query: under each name its values in their order, as they are spelled.
    fn meaning(query: &str) -> BTreeMap<String, Vec<&str>> {
        let mut meaning = BTreeMap::<_, Vec<_>>::new();
        for raw in query.split('&').filter(|raw| !raw.is_empty()) {
            let name = raw.split('=').next().unwrap().replace("%61", "a");
            meaning.entry(name).or_default().push(raw);
        }
        meaning
    }

    /// Few names and values, so that many queries are nearly the same.
    fn query() -> impl Strategy<Value = String> {
        let parameter = prop_oneof![
            Just(""),
            Just("a"),
            Just("a="),
            Just("a=1"),
            Just("a=2"),
            Just("%61=1"),
            Just("b=1"),
            Just("b=%61")
        ];
        prop::collection::vec(parameter, 0..5).prop_map(|parameters| parameters.join("&"))
    }

    #[test]
    fn what_says_who_asks_is_in_no_key() {
        use mainstay_core::cache::Ttl;
        let rule = ResponseCacheRule::new(Ttl::minutes(1)).vary_by(header::ACCEPT);
        let rule = rule.per_identity(|request| Some(request.headers()["x-user"].to_str().ok()?.to_owned()));
        let key = |user: &str| {
            let request = Request::get("/a").header("x-user", user).header("accept", "canary");
            let request = request.body(axum::body::Body::empty()).unwrap();
            Plan::of(&rule, &request, request.uri(), &Directives::default()).unwrap().key
        };
        assert!(key("canary").starts_with("http:/a?#") && !key("canary").contains("canary"));
        assert_ne!(key("canary"), key("other"));
    }

    proptest! {
        #[test]
        fn two_queries_have_one_key_if_and_only_if_no_handler_can_tell_them_apart(a in query(), b in query()) {
            let same = canonical(&a, |_| true) == canonical(&b, |_| true);
            prop_assert_eq!(same, meaning(&a) == meaning(&b), "{} {}", a, b);
        }

        #[test]
        fn a_canonical_query_is_its_own_and_unknown_names_are_not_in_it(query in ".{0,40}") {
            let once = canonical(&query, |_| true);
            prop_assert_eq!(&canonical(&once, |_| true), &once);
            prop_assert_eq!(canonical(&query, |_| false), "");
        }

        #[test]
        fn requests_have_one_selection_if_and_only_if_their_lines_are_the_same(
            a in prop::collection::vec("[ab,]{0,2}", 0..3), b in prop::collection::vec("[ab,]{0,2}", 0..3)
        ) {
            let of = |lines: &[String]| {
                let mut headers = HeaderMap::new();
                for line in lines {
                    headers.append(header::ACCEPT, line.parse().unwrap());
                }
                selection(["accept", "cookie"].into_iter(), &headers)
            };
            prop_assert_eq!(of(&a) == of(&b), a == b);
        }
    }
}
