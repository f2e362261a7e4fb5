//! The header fields that tell a client where it stands, as text.

use std::fmt::Write;
use std::time::Duration;

use http::HeaderName;

pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
pub(super) const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
pub(super) const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// What pages of other origins may read.
pub(in crate::layer) const EXPOSED: [HeaderName; 5] = [POLICY, RATE_LIMIT, LIMIT, REMAINING, RESET];

/// How answers tell a client where it stands.
///
/// There is no standard yet, and the draft has changed its syntax more than once: what is sent is the form
/// of one revision, named here, until it is an RFC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RateLimitFields {
    /// `RateLimit-Policy: "api";q=100;w=900` and `RateLimit: "api";r=99;t=900`: structured fields as in
    /// draft-ietf-httpapi-ratelimit-headers-11 (May 2026). A policy's name is a string, not a token.
    #[default]
    Draft11,
    /// `RateLimit-Limit: 100`, `RateLimit-Remaining: 99`, `RateLimit-Reset: 900`: three plain numbers, as up
    /// to revision 06 of the draft (2022). Many clients know only these. They have room for one policy: of
    /// layers around each other the innermost speaks.
    Draft06,
}

/// The largest number that a structured field can hold (RFC 9651 §3.3.1).
const LARGEST: u64 = 999_999_999_999_999;

/// Appends an item of `RateLimit-Policy`.
pub(super) fn policy(fields: &mut String, name: &str, limit: u32, window: Duration) {
    item(fields, name);
    // A window of no whole second is written as the longer one: a client that keeps to it keeps to ours.
    let window = whole_seconds(window).max(1);
    write!(fields, ";q={limit};w={window}").expect("a string takes what is written");
}

/// Appends an item of `RateLimit`.
pub(super) fn standing(fields: &mut String, name: &str, remaining: u32, seconds: u64) {
    item(fields, name);
    write!(fields, ";r={remaining};t={seconds}").expect("a string takes what is written");
}

/// The name as a string of a structured field, after a comma where it is not the first. Names of quotas
/// have nothing that would need an escape.
fn item(fields: &mut String, name: &str) {
    fields.push_str(if fields.is_empty() { "\"" } else { ", \"" });
    fields.push_str(name);
    fields.push('"');
}

/// Seconds, rounded up: who waits that long has waited long enough.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).min(LARGEST)
}

/// Seconds a client is told to wait: rounded up, at least one, after stretching `time` by `jitter`, a share
/// of it. Clients who were refused together then do not come back together.
pub(in crate::layer) fn retry_seconds(time: Duration, jitter: f64) -> u64 {
    whole_seconds(time.saturating_add(time.mul_f64(jitter))).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut fields = String::new();
        write(&mut fields);
        fields
    }

    #[test]
    fn fields_read_as_in_the_draft() {
        let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
        let policies = written(|fields| {
            policy(fields, "burst", 100, minute);
            policy(fields, "daily", 1000, day);
        });
        assert_eq!(policies, r#""burst";q=100;w=60, "daily";q=1000;w=86400"#);
        assert_eq!(written(|fields| standing(fields, "default", 50, 30)), r#""default";r=50;t=30"#);
    }

    #[test]
    fn a_window_of_no_whole_second_is_rounded_up() {
        let window = |time| written(|fields| policy(fields, "a", 1, time));
        assert_eq!(window(Duration::from_millis(1)), r#""a";q=1;w=1"#);
        assert_eq!(window(Duration::from_millis(1500)), r#""a";q=1;w=2"#);
        assert_eq!(window(Duration::ZERO), r#""a";q=1;w=1"#);
        assert_eq!(window(Duration::MAX), r#""a";q=1;w=999999999999999"#);
    }

    #[test]
    fn a_wait_is_rounded_up_and_stretched_by_no_more_than_a_tenth() {
        for (millis, jitter, seconds) in [
            (0, 0.0, 1),
            (1, 0.0, 1),
            (1000, 0.0, 1),
            (1001, 0.0, 2),
            (10_000, 0.1, 11),
            (60_000, 0.1, 66),
            (60_000, 0.05, 63),
            (900_000, 0.0, 900),
        ] {
            assert_eq!(retry_seconds(Duration::from_millis(millis), jitter), seconds, "{millis} ms");
        }
        assert_eq!(retry_seconds(Duration::MAX, 0.1), LARGEST);
    }
}
