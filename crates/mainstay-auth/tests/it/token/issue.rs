//! What is issued, and how the verifier takes what others issue.

use std::collections::HashSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mainstay_auth::token::{
    Error, IssueOptions, Issuer, KeyError, Keys, NewClaims, Reason, Verifier, VerifyOptions,
};
use mainstay_core::config::JwtAlgorithm::{self, EdDSA, HS256};
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::time::Clock;
use mainstay_testkit::TestClock;
use proptest::prelude::*;

use super::{at, issuing, reason, verifying};
use crate::keys::{self, ALGORITHMS, base64url};

fn ring(algorithm: JwtAlgorithm) -> Keys {
    Keys::signing(keys::key(algorithm)).unwrap()
}

fn claims() -> NewClaims {
    NewClaims {
        subject: "user-1".to_owned(),
        roles: vec!["admin".to_owned(), "user".to_owned()],
        session: Some("session-1".to_owned()),
    }
}

#[tokio::test]
async fn what_is_issued_is_verified_by_the_public_key_for_each_algorithm() {
    let now: Timestamp = "2026-11-23T12:00:00.123456Z".parse().unwrap();
    for algorithm in ALGORITHMS {
        let issued = Issuer::new(&ring(algorithm), issuing(), at(now)).unwrap().issue(&claims()).unwrap();
        let public = Keys::checking(keys::public(algorithm));
        let verifier = Verifier::new(public, verifying(), &Metrics::new(), at(now)).unwrap();
        let claims = verifier.verify(issued.token.expose()).await.unwrap();
        assert_eq!(claims.subject, "user-1");
        assert_eq!(claims.roles, ["admin", "user"]);
        assert_eq!(claims.session.as_deref(), Some("session-1"));
        assert_eq!(claims.id, Some(issued.id));
        assert_eq!(claims.expires, issued.expires);
        assert_eq!(claims.expires.to_string(), "2026-11-23T12:15:00Z");
        assert_eq!(claims.issued, Some(now), "to the microsecond");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_worth_nothing_from_its_end_and_leeway_on() {
    let time = TestClock::new();
    let issuer = Issuer::new(&ring(HS256), issuing(), time.clock()).unwrap();
    let verifier = Verifier::new(ring(HS256), verifying(), &Metrics::new(), time.clock()).unwrap();
    let issued = issuer.issue(&claims()).unwrap();
    let left = issued.expires.duration_since(time.clock().wall()) + SignedDuration::from_secs(30);
    time.step_wall(left - SignedDuration::from_micros(1));
    assert!(verifier.verify(issued.token.expose()).await.is_ok());
    time.step_wall(SignedDuration::from_micros(1));
    assert_eq!(reason(verifier.verify(issued.token.expose()).await), Some(Reason::Expired));
    time.step_wall(SignedDuration::from_secs(-3_600));
    assert_eq!(reason(verifier.verify(issued.token.expose()).await), Some(Reason::Early));
}

#[test]
fn no_two_tokens_have_one_id_and_none_shows_in_debug() {
    let issuer = Issuer::new(&ring(HS256), issuing(), Clock::system()).unwrap();
    let ids: HashSet<String> = (0..1_000).map(|_| issuer.issue(&claims()).unwrap().id).collect();
    assert_eq!(ids.len(), 1_000);
    let issued = issuer.issue(&claims()).unwrap();
    assert!(!format!("{issued:?}").contains("eyJ"), "{issued:?}");
}

#[test]
fn what_no_verifier_would_take_is_not_signed() {
    let issuer = Issuer::new(&ring(HS256), issuing(), Clock::system()).unwrap();
    let wrong = |change: &dyn Fn(&mut NewClaims)| {
        let mut claims = claims();
        change(&mut claims);
        match issuer.issue(&claims) {
            Err(Error::Claims { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wrong(&|claims| claims.subject.clear()), "subject");
    assert_eq!(wrong(&|claims| claims.subject = "x".repeat(257)), "subject");
    assert_eq!(wrong(&|claims| claims.session = Some(String::new())), "session");
    assert_eq!(wrong(&|claims| claims.session = Some("x".repeat(129))), "session");
    assert_eq!(wrong(&|claims| claims.roles = vec!["x".to_owned(); 65]), "roles");
    assert_eq!(wrong(&|claims| claims.roles = vec![String::new()]), "roles");
    // Bounded each, and yet too long together once they are escaped.
    assert_eq!(wrong(&|claims| claims.roles = vec!["\u{1}".repeat(64); 64]), "roles");
}

#[test]
fn options_that_cannot_be_met_are_named() {
    let field = |error| match error {
        KeyError::Option { field, .. } => field,
        other => panic!("{other}"),
    };
    let issuer = |options| field(Issuer::new(&ring(HS256), options, Clock::system()).unwrap_err());
    assert_eq!(issuer(IssueOptions { issuer: String::new(), ..issuing() }), "issuer");
    assert_eq!(issuer(IssueOptions { audience: String::new(), ..issuing() }), "audience");
    for lifetime in [Duration::ZERO, Duration::from_millis(999), Duration::MAX] {
        assert_eq!(issuer(IssueOptions { lifetime, ..issuing() }), "lifetime");
    }
    let verifier =
        |options| field(Verifier::new(ring(HS256), options, &Metrics::new(), Clock::system()).unwrap_err());
    assert_eq!(verifier(VerifyOptions { issuer: String::new(), ..verifying() }), "issuer");
    assert_eq!(verifier(VerifyOptions { audience: String::new(), ..verifying() }), "audience");
    assert_eq!(verifier(VerifyOptions { leeway: Duration::from_millis(60_001), ..verifying() }), "leeway");
    assert_eq!(verifier(VerifyOptions { max_lifetime: Duration::ZERO, ..verifying() }), "max_lifetime");
}

#[tokio::test]
async fn a_caller_hears_one_word_and_the_metrics_the_reason() {
    let metrics = Metrics::new();
    let verifier = Verifier::new(ring(HS256), verifying(), &metrics, Clock::system()).unwrap();
    let issuer = Issuer::new(&ring(HS256), issuing(), Clock::system()).unwrap();
    let issued = issuer.issue(&claims()).unwrap();
    verifier.verify(issued.token.expose()).await.unwrap();
    let mut heard = HashSet::new();
    for bad in ["", "a.b.c", "e30.e30.", &format!("{}A", issued.token.expose()), &"x".repeat(8_193)] {
        heard.insert(verifier.verify(bad).await.unwrap_err().to_string());
    }
    assert_eq!(heard.into_iter().collect::<Vec<_>>(), ["the token is not valid"]);
    let text = metrics.render(Format::Prometheus);
    for (result, count) in [
        ("ok", 1),
        ("malformed", 2),
        ("signature", 1),
        ("algorithm", 1),
        ("too_long", 1),
        ("expired", 0),
        ("unavailable", 0),
    ] {
        let line = format!("auth_tokens_checked_total{{result=\"{result}\"}} {count}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
}

#[tokio::test]
async fn a_token_without_a_key_id_is_tried_with_the_keys_of_its_algorithm_and_few() {
    let token = {
        let header = base64url(r#"{"alg":"HS256"}"#);
        let now = Timestamp::now().as_second();
        let claims = format!(r#"{{"iss":"issuer","aud":"audience","sub":"s","exp":{}}}"#, now + 60);
        let message = format!("{header}.{}", base64url(claims));
        let signature = keys::signer(HS256)(message.as_bytes());
        format!("{message}.{}", base64url(signature))
    };
    let other = |i: usize| {
        let secret = mainstay_core::secret::Secret::new(format!("another secret of 32 bytes or more {i}"));
        mainstay_auth::token::Key::secret(HS256, &secret).unwrap()
    };
    let ring = |before: usize| {
        let ring = (0..before).try_fold(ring(EdDSA), |ring, i| ring.also(other(i))).unwrap();
        ring.also(keys::key(HS256)).unwrap()
    };
    for (before, passes) in [(0, true), (3, true), (4, false)] {
        let verifier = Verifier::new(ring(before), verifying(), &Metrics::new(), Clock::system()).unwrap();
        assert_eq!(verifier.verify(&token).await.is_ok(), passes, "{before}");
    }
}

/// Every bit of a token of each kind of signature is covered by it.
#[tokio::test]
async fn a_bit_changed_anywhere_is_refused() {
    for algorithm in [HS256, EdDSA, JwtAlgorithm::ES256, JwtAlgorithm::RS256] {
        let issuer = Issuer::new(&ring(algorithm), issuing(), Clock::system()).unwrap();
        let verifier = Verifier::new(ring(algorithm), verifying(), &Metrics::new(), Clock::system()).unwrap();
        let token = issuer.issue(&claims()).unwrap().token.expose().clone();
        assert!(verifier.verify(&token).await.is_ok());
        for at in 0..token.len() {
            for bit in 0..7 {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(verifier.verify(&changed).await.is_err(), "{algorithm:?}: byte {at}, bit {bit}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics_the_verifier(
        text in prop_oneof![
            any::<String>(),
            "[A-Za-z0-9_=+/ -]{0,40}(\\.[A-Za-z0-9_=+/ -]{0,40}){0,5}",
        ],
    ) {
        prop_assert!(judge(&text).is_err());
    }

    #[test]
    fn no_bytes_in_the_parts_panic_the_verifier(
        header in part(r#"{"alg":"HS256","typ":"JWT"}"#),
        claims in part(r#"{"iss":"issuer","aud":"audience","sub":"s","exp":9999999999,"roles":["a"]}"#),
        well in any::<bool>(),
    ) {
        let message = format!("{}.{}", base64url(header), base64url(claims));
        let signature = if well { keys::signer(HS256)(message.as_bytes()) } else { Vec::new() };
        let _ = judge(&format!("{message}.{}", base64url(signature)));
    }
}

fn judge(token: &str) -> Result<(), Error> {
    let verifier = Verifier::new(ring(HS256), verifying(), &Metrics::new(), Clock::system()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(verifier.verify(token)).map(drop)
}

/// Anything, or the JSON with some of its bytes replaced.
fn part(json: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let broken = proptest::collection::vec((0..json.len(), any::<u8>()), 0..4).prop_map(move |changes| {
        let mut bytes = json.as_bytes().to_vec();
        changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        bytes
    });
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..60), broken]
}
