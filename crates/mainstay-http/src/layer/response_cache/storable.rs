//! Whether an answer may be kept, and for how long (RFC 9111 §3 and §4.2).

use std::time::Duration;

use http::response::Parts;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use mainstay_core::cache::Lifetime;

use super::ResponseCacheRule;
use super::control::{Directives, members};
use super::plan::Audience;
use crate::Problem;

/// Most headers that an answer may depend on.
const MAX_VARY: usize = 16;

/// How long the answer may be kept. Its status, its headers and who asked decide, not its body.
pub(super) fn lifetime(
    rule: &ResponseCacheRule,
    audience: Audience,
    answer: &Parts,
    now: Timestamp,
) -> Option<Lifetime> {
    let at_most = rule.keeps(answer.status)?;
    let (headers, said) = (&answer.headers, Directives::of(&answer.headers));
    let shared = audience != Audience::One;
    let for_all = said.public || said.s_maxage.is_some();
    // A problem says so to clients; the rule names its status.
    let no_store = said.no_store && answer.extensions.get::<Problem>().is_none();
    let forbidden = no_store
        || said.no_cache
        || (said.private && shared)
        || (audience == Audience::Credentialed && !for_all)
        || headers.contains_key(header::SET_COOKIE);
    if forbidden {
        return None;
    }
    let explicit = said.s_maxage.filter(|_| shared).or(said.max_age).or_else(|| expires(headers, now));
    let fresh_for = explicit.map_or(at_most, |time| time.saturating_sub(age(headers)).min(at_most));
    if fresh_for.is_zero() {
        return None;
    }
    let strict = said.must_revalidate || (shared && (said.proxy_revalidate || said.s_maxage.is_some()));
    let stale_for = if strict { Duration::ZERO } else { said.stale.unwrap_or(Duration::MAX) };
    Some(Lifetime::new(fresh_for).stale_for(stale_for))
}

/// The headers that the answer depends on, in lower case and sorted, but for those of the rule, which its key
/// has anyway. Nothing, if it depends on more than can be told.
pub(super) fn vary(rule: &ResponseCacheRule, headers: &HeaderMap) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for line in headers.get_all(header::VARY) {
        for name in members(line.to_str().ok()?, false) {
            let name = name.to_ascii_lowercase();
            if name == "*" {
                return None;
            }
            if !rule.vary.iter().any(|known| *known == *name) {
                names.push(name);
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    (names.len() <= MAX_VARY).then_some(names)
}

/// How old the answer was when it came, if the handler had it from elsewhere.
pub(super) fn age(headers: &HeaderMap) -> Duration {
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(age.unwrap_or(0))
}

/// What `Expires` leaves. An invalid date, `0` above all, is one in the past (RFC 9111 §5.3).
fn expires(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let expires = date(headers.get(header::EXPIRES)?);
    let sent = headers.get(header::DATE).and_then(date).unwrap_or(now);
    let left = expires.map_or(0, |expires| expires.as_second().saturating_sub(sent.as_second()));
    Some(Duration::from_secs(left.try_into().unwrap_or(0)))
}

fn date(value: &HeaderValue) -> Option<Timestamp> {
    rfc2822::parse(value.to_str().ok()?).ok().map(|date| date.timestamp())
}
