//! Keys that are fetched.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use mainstay_auth::token::{
    Error, FetchKeys, Issuer, Keys, MAX_SET, NewClaims, Reason, RemoteKeys, RemoteOptions, Verifier,
};
use mainstay_core::config::JwtAlgorithm::{self, ES256, EdDSA, HS256, RS256};
use mainstay_core::metrics::Metrics;
use mainstay_testkit::TestClock;
use proptest::prelude::*;

use super::{issuing, reason, verifying};
use crate::keys::{self, base64url};

/// RFC 7638, section 3.1.
pub(super) const RFC_7638: &str = r#"{"keys":[{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","kid":"2011-04-29","e":"AQAB","alg":"RS256"}]}"#;

/// An issuer, as it is seen over the network.
#[derive(Default)]
struct Issuers {
    answer: Mutex<Option<Vec<u8>>>,
    hangs: Mutex<bool>,
    asked: AtomicUsize,
}

#[async_trait]
impl FetchKeys for Issuers {
    async fn fetch(&self, most: usize) -> Result<Vec<u8>, String> {
        assert_eq!(most, MAX_SET);
        self.asked.fetch_add(1, Ordering::SeqCst);
        if *self.hangs.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.answer.lock().unwrap().clone().ok_or_else(|| "503".to_owned())
    }
}

struct Rig {
    issuers: Arc<Issuers>,
    keys: RemoteKeys,
    verifier: Verifier,
    time: TestClock,
}

impl Rig {
    fn new() -> Self {
        let (issuers, time, metrics) = (Arc::new(Issuers::default()), TestClock::new(), Metrics::new());
        let fetch = Arc::clone(&issuers) as Arc<dyn FetchKeys>;
        let keys = RemoteKeys::new(fetch, RemoteOptions::default(), &metrics, time.clock());
        let verifier = Verifier::new(keys.clone(), verifying(), &metrics, time.clock()).unwrap();
        Self { issuers, keys, verifier, time }
    }

    fn publishes(&self, algorithms: &[JwtAlgorithm]) {
        let sets =
            algorithms.iter().map(|algorithm| Keys::checking(keys::public(*algorithm)).jwks().document);
        let keys: Vec<_> = sets.flat_map(|set| set["keys"].as_array().unwrap().clone()).collect();
        self.answers(&serde_json::json!({ "keys": keys }).to_string());
    }

    fn answers(&self, body: &str) {
        *self.issuers.answer.lock().unwrap() = Some(body.as_bytes().to_vec());
    }

    fn is_down(&self) {
        *self.issuers.answer.lock().unwrap() = None;
    }

    fn hangs(&self, hangs: bool) {
        *self.issuers.hangs.lock().unwrap() = hangs;
    }

    fn asked(&self) -> usize {
        self.issuers.asked.load(Ordering::SeqCst)
    }

    fn token(&self, algorithm: JwtAlgorithm) -> String {
        let ring = Keys::signing(keys::key(algorithm)).unwrap();
        let issuer = Issuer::new(&ring, issuing(), self.time.clock()).unwrap();
        let claims = NewClaims { subject: "user-1".to_owned(), ..NewClaims::default() };
        issuer.issue(&claims).unwrap().token.expose().clone()
    }

    /// What becomes of a token of this algorithm: nothing is wrong, or what is.
    async fn judge(&self, algorithm: JwtAlgorithm) -> Option<Error> {
        self.verifier.verify(&self.token(algorithm)).await.err()
    }

    async fn made_up(&self, id: &str) -> Error {
        let token = format!("{}.e30.", base64url(format!(r#"{{"alg":"ES256","kid":"{id}"}}"#)));
        self.verifier.verify(&token).await.unwrap_err()
    }
}

fn unknown() -> Error {
    Error::Invalid { reason: Reason::UnknownKey }
}

/// The ids of the keys that are taken from a set.
pub(super) fn read(set: &str) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let rig = Rig::new();
        rig.answers(set);
        rig.keys.refresh().await;
        rig.keys.ids()
    })
}

#[tokio::test(start_paused = true)]
async fn the_first_token_fetches_the_keys_and_the_next_do_not() {
    let rig = Rig::new();
    rig.publishes(&[ES256, RS256, EdDSA]);
    for algorithm in [ES256, RS256, EdDSA, ES256] {
        assert_eq!(rig.judge(algorithm).await, None);
    }
    assert_eq!(rig.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_who_wait_for_the_keys_wait_for_one_fetch() {
    let rig = Rig::new();
    rig.publishes(&[ES256]);
    let token = rig.token(ES256);
    let all = join_all((0..1_000).map(|_| rig.verifier.verify(&token))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(rig.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn made_up_ids_cause_a_fetch_per_cooldown_and_take_no_known_key_away() {
    let rig = Rig::new();
    rig.publishes(&[ES256]);
    assert_eq!(rig.judge(ES256).await, None);
    for round in 0..3 {
        tokio::time::advance(Duration::from_secs(30)).await;
        for i in 0..200 {
            assert_eq!(rig.made_up(&format!("{round}-{i}")).await, unknown());
        }
        assert_eq!(rig.asked(), 2 + round);
        assert_eq!(rig.judge(ES256).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_that_no_key_had_is_not_asked_for_again_for_a_while() {
    let rig = Rig::new();
    rig.publishes(&[ES256]);
    assert_eq!(rig.made_up("x").await, unknown());
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(rig.made_up("x").await, unknown());
    assert_eq!(rig.asked(), 1, "the cooldown is over, but this one is known not to be");
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(rig.made_up("x").await, unknown());
    assert_eq!(rig.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_by_the_token_that_names_it() {
    let rig = Rig::new();
    rig.publishes(&[ES256]);
    assert_eq!(rig.judge(ES256).await, None);
    rig.publishes(&[ES256, EdDSA]);
    assert_eq!(rig.judge(EdDSA).await, Some(unknown()), "within the cooldown");
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(rig.judge(EdDSA).await, None);
    assert_eq!(rig.judge(ES256).await, None);
}

#[tokio::test(start_paused = true)]
async fn fetches_by_the_clock_are_not_held_up_by_made_up_ids() {
    let rig = Rig::new();
    rig.publishes(&[ES256]);
    let fresh = rig.keys.clone();
    let task = tokio::spawn(async move { fresh.keep_fresh().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.judge(ES256).await, None);
    rig.publishes(&[EdDSA]);
    // Somebody uses the budget of unknown ids up a moment before.
    tokio::time::sleep(Duration::from_secs(298)).await;
    rig.is_down();
    assert_eq!(rig.made_up("x").await, Error::Unavailable);
    rig.publishes(&[EdDSA]);
    assert_eq!(rig.judge(EdDSA).await, Some(Error::Unavailable), "the cooldown");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(rig.judge(EdDSA).await, None);
    assert_eq!(rig.judge(ES256).await, Some(unknown()), "the issuer took it away");
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_clock_fetches_sooner() {
    let rig = Rig::new();
    let fresh = rig.keys.clone();
    let task = tokio::spawn(async move { fresh.keep_fresh().await });
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!((2..=4).contains(&rig.asked()), "{}", rig.asked());
    rig.publishes(&[ES256]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.judge(ES256).await, None);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn known_keys_stay_in_use_while_the_issuer_is_down_but_not_for_ever() {
    let rig = Rig::new();
    rig.publishes(&[ES256]);
    assert_eq!(rig.judge(ES256).await, None);
    rig.is_down();
    for broken in [None, Some("{"), Some("[]"), Some(r#"{"keys":[]}"#), Some(r#"{"keys":[{"kty":"oct"}]}"#)] {
        broken.into_iter().for_each(|body| rig.answers(body));
        assert!(!rig.keys.refresh().await, "{broken:?}");
        assert_eq!(rig.judge(ES256).await, None);
    }
    rig.time.suspend(Duration::from_secs(24 * 3_600 - 1));
    assert_eq!(rig.judge(ES256).await, None);
    rig.time.suspend(Duration::from_secs(2));
    assert_eq!(rig.judge(ES256).await, Some(Error::Unavailable));
    rig.publishes(&[ES256]);
    rig.time.suspend(Duration::from_secs(30));
    assert_eq!(rig.judge(ES256).await, None);
}

#[tokio::test(start_paused = true)]
async fn while_the_issuer_is_down_nobody_says_that_a_token_is_wrong() {
    let rig = Rig::new();
    assert_eq!(rig.judge(ES256).await, Some(Error::Unavailable));
    assert_eq!(rig.judge(ES256).await, Some(Error::Unavailable));
    assert_eq!(rig.asked(), 1, "nor asks it again at once");
    rig.publishes(&[ES256]);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(rig.judge(ES256).await, None);
    rig.is_down();
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(rig.judge(EdDSA).await, Some(Error::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_ends_after_three_seconds() {
    let rig = Rig::new();
    rig.hangs(true);
    let before = tokio::time::Instant::now();
    assert_eq!(rig.judge(ES256).await, Some(Error::Unavailable));
    assert_eq!(before.elapsed().as_millis() / 10, 300);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_hangs_up_does_not_end_the_fetch_of_others() {
    let rig = Rig::new();
    rig.publishes(&[ES256]);
    let token = rig.token(ES256);
    let hurried = tokio::time::timeout(Duration::from_millis(1), rig.verifier.verify(&token)).await;
    assert!(hurried.is_err());
    assert!(rig.verifier.verify(&token).await.is_ok());
    assert_eq!(rig.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_too_large_is_not_read() {
    let rig = Rig::new();
    rig.publishes(&[ES256]);
    let set = String::from_utf8(rig.issuers.answer.lock().unwrap().clone().unwrap()).unwrap();
    rig.answers(&format!("{set}{}", " ".repeat(MAX_SET - set.len())));
    assert!(rig.keys.refresh().await);
    rig.answers(&format!("{set}{}", " ".repeat(MAX_SET - set.len() + 1)));
    assert!(!rig.keys.refresh().await);
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_unknown_ids_is_bounded_and_a_flood_costs_no_fetch() {
    let rig = Rig::new();
    rig.publishes(&[ES256]);
    rig.keys.refresh().await;
    // All join the one fetch that the first of them caused.
    let all = join_all((0..3_000).map(|i| {
        let rig = &rig;
        async move { rig.made_up(&format!("id-{i}")).await }
    }))
    .await;
    assert!(all.iter().all(|error| *error == unknown()));
    assert_eq!(rig.asked(), 2);
    assert_eq!(rig.judge(ES256).await, None);
}

#[test]
fn what_is_no_key_that_checks_signatures_is_left_out_of_a_set() {
    let good = Keys::checking(keys::public(ES256)).jwks().document["keys"][0].clone();
    let with = |name: &str, value: serde_json::Value| {
        let mut key = good.clone();
        key[name] = value;
        serde_json::json!({ "keys": [key] }).to_string()
    };
    let id = keys::public(ES256).id().to_owned();
    for taken in [
        with("use", "sig".into()),
        with("key_ops", serde_json::json!(["verify"])),
        with("x5c", serde_json::json!(["…"])),
        with("alg", "ES256".into()),
    ] {
        assert_eq!(read(&taken), std::slice::from_ref(&id), "{taken}");
    }
    for left_out in [
        with("use", "enc".into()),
        with("key_ops", serde_json::json!(["sign"])),
        with("alg", "HS256".into()),
        with("alg", "none".into()),
        with("alg", "RS256".into()),
        with("alg", "ES384".into()),
        with("alg", 7.into()),
        with("kty", "oct".into()),
        with("kty", "RSA".into()),
        with("crv", "P-384".into()),
        with("crv", "P-521".into()),
        with("x", "".into()),
        with("x", "AA==".into()),
        with("kid", "a b".into()),
        with("kid", "".into()),
        with("kid", 7.into()),
        r#"{"keys":[7,null,{},[]]}"#.to_owned(),
        r#"{"keys":[{"kty":"oct","k":"c2VjcmV0","alg":"HS256","kid":"x"}]}"#.to_owned(),
        RFC_7638.replace("0vx7agoebGcQSuuP", ""),
        RFC_7638.replace("AQAB", "AQ"),
    ] {
        assert!(read(&left_out).is_empty(), "{left_out}");
    }
    let twice = serde_json::json!({ "keys": [good, good] }).to_string();
    assert_eq!(read(&twice), [id]);
}

/// The classic: a public key that is fetched is used as the secret of an HMAC.
#[tokio::test(start_paused = true)]
async fn a_fetched_key_never_checks_an_hmac() {
    let rig = Rig::new();
    rig.publishes(&[RS256]);
    let id = keys::public(RS256).id().to_owned();
    for kid in [format!(r#","kid":"{id}""#), String::new()] {
        let header = base64url(format!(r#"{{"alg":"HS256"{kid}}}"#));
        let message = format!(
            "{header}.{}",
            base64url(r#"{"iss":"issuer","aud":"audience","sub":"s","exp":9999999999}"#)
        );
        let signature = keys::mac(ring::hmac::HMAC_SHA256, keys::RSA.1.as_bytes(), message.as_bytes());
        let forged = format!("{message}.{}", base64url(signature));
        assert_eq!(reason(rig.verifier.verify(&forged).await), Some(Reason::Algorithm));
    }
    assert!(rig.judge(HS256).await.is_some());
}

proptest! {
    #[test]
    fn no_bytes_panic_the_reader_of_sets(
        changes in proptest::collection::vec((0..RFC_7638.len(), any::<char>()), 0..5),
        anything in any::<String>(),
    ) {
        let mut set: Vec<char> = RFC_7638.chars().collect();
        changes.into_iter().for_each(|(at, char)| set[at] = char);
        prop_assert!(read(&set.into_iter().collect::<String>()).len() <= 1);
        prop_assert!(read(&anything).is_empty());
    }
}
