//! What an answer says about the service that gave it, and about asking again.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};
use mainstay_core::pipeline::{Classify, Judgement, Outcome};
use mainstay_core::retry;

use crate::{Error, Response};

/// The longest that a service may ask to be left alone for by `Retry-After`; what is longer counts as this.
const LONGEST: Duration = Duration::from_secs(600);

/// Judges answers by RFC 9110. Only a request that may be repeated is: by its method, or because the caller said so.
pub(crate) struct Judge {
    pub(crate) is_repeatable: bool,
}

impl Classify<Response, Error> for Judge {
    fn judge(&self, outcome: Outcome<'_, Response, Error>) -> Judgement {
        let judgement = match outcome {
            Outcome::Done(response) => return self.answered(response.status(), response.headers()),
            Outcome::TimedOut | Outcome::Failed(Error::Broken(_)) => Judgement::TRANSIENT,
            Outcome::Failed(Error::Connect(_)) => return Judgement::TRANSIENT, // nothing was sent
            Outcome::Failed(Error::TooLarge { .. }) => Judgement::FATAL,
            Outcome::Failed(_) => Judgement::REFUSED,
        };
        self.repeat(judgement)
    }
}

impl Judge {
    const fn repeat(&self, judgement: Judgement) -> Judgement {
        if self.is_repeatable { judgement } else { judgement.once() }
    }

    fn answered(&self, status: StatusCode, headers: &HeaderMap) -> Judgement {
        let gave_up = headers.get(retry::HEADER).is_some_and(|value| value == retry::HEADER_NO);
        match status {
            _ if status.is_server_error() && gave_up => Judgement::EXHAUSTED,
            // Refused before anything was done, by what these mean.
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => match retry_after(headers) {
                Some(time) => self.repeat(Judgement::busy(time)),
                None => self.repeat(Judgement::TRANSIENT),
            },
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT => self.repeat(Judgement::TRANSIENT),
            _ if status.is_server_error() => Judgement::FATAL,
            // The caller's fault, well noticed: the service works.
            _ => Judgement::SUCCESS,
        }
    }
}

/// Seconds, or a date of the calendar.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let time = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only too many digits are left to fail.
        text.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        let now = SystemTime::from(jiff::Timestamp::now());
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(time.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use mainstay_core::breaker::Verdict;
    use mainstay_core::retry::Retryable;

    use super::*;

    fn judged(is_repeatable: bool, status: u16, headers: &[(&'static str, &str)]) -> Judgement {
        let headers =
            headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        Judge { is_repeatable }.answered(StatusCode::from_u16(status).unwrap(), &headers.collect())
    }

    #[test]
    fn what_the_caller_did_wrong_speaks_for_the_service() {
        for status in [200, 204, 301, 304, 400, 401, 404, 409, 422] {
            assert_eq!(judged(true, status, &[]), Judgement::SUCCESS, "{status}");
        }
    }

    #[test]
    fn passing_failures_are_tried_again_if_the_request_may_be_repeated() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(judged(true, status, &[]), Judgement::TRANSIENT, "{status}");
            assert_eq!(judged(false, status, &[]), Judgement::TRANSIENT.once(), "{status}");
        }
        assert_eq!(judged(true, 501, &[]), Judgement::FATAL);
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let after = |text: &str| judged(true, 503, &[("retry-after", text)]);
        assert_eq!(after("7"), Judgement::busy(Duration::from_secs(7)));
        assert_eq!(after("99999999"), Judgement::busy(LONGEST));
        assert_eq!(after(&"9".repeat(40)), Judgement::busy(LONGEST));
        for nonsense in ["-1", "+7", "7.5", "1e3", ""] {
            assert_eq!(after(nonsense), Judgement::TRANSIENT, "{nonsense}");
        }
        assert_eq!(after("soon"), Judgement::TRANSIENT);
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Judgement::busy(Duration::ZERO));
        let date =
            httpdate::fmt_http_date(SystemTime::from(jiff::Timestamp::now()) + Duration::from_secs(60));
        let Judgement { verdict: Verdict::FailureFor(time), retry: Retryable::After(_), .. } = after(&date)
        else {
            panic!("{:?}", after(&date));
        };
        assert!((50..=60).contains(&time.as_secs()), "{time:?}");
    }

    #[test]
    fn what_was_tried_again_further_on_is_not_here() {
        assert_eq!(
            judged(true, 503, &[("mainstay-retry", "no"), ("retry-after", "1")]),
            Judgement::EXHAUSTED
        );
        assert_eq!(judged(true, 404, &[("mainstay-retry", "no")]), Judgement::SUCCESS);
    }

    #[test]
    fn a_request_that_was_never_sent_may_always_be_sent_again() {
        let judge = Judge { is_repeatable: false };
        let refused = Error::Connect("refused".into());
        assert_eq!(judge.judge(Outcome::Failed(&refused)), Judgement::TRANSIENT);
        assert_eq!(judge.judge(Outcome::TimedOut), Judgement::TRANSIENT.once());
        assert_eq!(judge.judge(Outcome::Failed(&Error::invalid("a path"))), Judgement::REFUSED);
    }
}
