//! What it costs to verify a token, against `jsonwebtoken` bare and against the signature alone, in the same run.
//!
//! `cargo bench -p mainstay-auth --bench token`. The cases take turns in short rounds, so that whatever else the
//! machine does meets them alike; the table has each one's first decile.
#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::hint::black_box;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use mainstay_auth::token::{IssueOptions, Issuer, Key, Keys, NewClaims, Verifier, VerifyOptions};
use mainstay_core::config::JwtAlgorithm;
use mainstay_core::metrics::Metrics;
use mainstay_core::secret::Secret;
use mainstay_core::time::Clock;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use ring::{hmac, signature};
use serde::Deserialize;
use tokio::time::Instant;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Length of a round.
const ROUND: Duration = Duration::from_millis(4);
const ROUNDS: usize = 200;

macro_rules! pem {
    ($name:literal) => {
        (
            include_str!(concat!("../tests/it/keys/", $name, ".pem")),
            include_str!(concat!("../tests/it/keys/", $name, ".pub.pem")),
        )
    };
}

/// The same claims for the other library.
#[derive(Deserialize)]
#[allow(dead_code, reason = "read, as ours are")]
struct Claims {
    sub: String,
    roles: Vec<String>,
    jti: String,
    sid: String,
    iat: f64,
    exp: i64,
}

/// Verifies the token once.
type Case = Box<dyn Fn(&str)>;

/// By this library, the other one, and the signature alone.
struct Cases {
    name: &'static str,
    token: String,
    cases: [Case; 3],
}

fn cases(name: &'static str, key: Key, theirs: DecodingKey, alone: Case) -> Cases {
    let (issuer, audience) = ("https://issuer.example".to_owned(), "orders".to_owned());
    let mut rules = Validation::new(name.parse::<Algorithm>().unwrap());
    rules.set_issuer(&[&issuer]);
    rules.set_audience(&[&audience]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let options = VerifyOptions::new(&issuer, &audience);
    let keys = Keys::signing(key).unwrap();
    let verifier = Verifier::new(keys.clone(), options, &Metrics::new(), Clock::system()).unwrap();
    let options = IssueOptions { issuer, audience, lifetime: Duration::from_secs(3_600) };
    let claims = NewClaims {
        subject: "01931f2a-7c1e-7d2b-9f0e-5a1b2c3d4e5f".to_owned(),
        roles: vec!["user".to_owned(), "editor".to_owned()],
        session: Some("Qk3vX0m9TtG8b1hYwLrZ2A".to_owned()),
    };
    let token = Issuer::new(&keys, options, Clock::system()).unwrap().issue(&claims).unwrap().token;
    let ours = move |token: &str| {
        black_box(verifier.verify(token).now_or_never().expect("the keys are here").unwrap());
    };
    let theirs = move |token: &str| {
        black_box(decode::<Claims>(token, &theirs, &rules).unwrap());
    };
    Cases { name, token: token.expose().clone(), cases: [Box::new(ours), Box::new(theirs), alone] }
}

fn split(token: &str) -> (&[u8], Vec<u8>) {
    let (message, signature) = token.rsplit_once('.').unwrap();
    (message.as_bytes(), URL_SAFE_NO_PAD.decode(signature).unwrap())
}

fn public(algorithm: &'static dyn signature::VerificationAlgorithm, pem: &str, skip: usize) -> Case {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    let key = UnparsedPublicKey::new(algorithm, der[skip..].to_vec());
    Box::new(move |token| {
        let (message, signature) = split(token);
        key.verify(message, &signature).unwrap();
    })
}

/// Nanoseconds of one.
fn once(case: &Case, token: &str) -> f64 {
    let (begun, mut count) = (Instant::now(), 0_u32);
    while begun.elapsed() < ROUND {
        (0..8).for_each(|_| case(black_box(token)));
        count += 8;
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

fn main() {
    let (rsa, p256, ed25519) = (pem!("rsa"), pem!("p256"), pem!("ed25519"));
    let private = |pem: &str| Key::private_pem(None, &Secret::from(pem)).unwrap();
    let mac = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let alone: Case = Box::new(move |token| {
        let (message, signature) = split(token);
        hmac::verify(&mac, message, &signature).unwrap();
    });
    let secret = Key::secret(JwtAlgorithm::HS256, &Secret::from(SECRET)).unwrap();
    // What stands before the key itself in each kind of file.
    let all = [
        cases("HS256", secret, DecodingKey::from_secret(SECRET.as_bytes()), alone),
        cases(
            "EdDSA",
            private(ed25519.0),
            DecodingKey::from_ed_pem(ed25519.1.as_bytes()).unwrap(),
            public(&ED25519, ed25519.1, 12),
        ),
        cases(
            "ES256",
            private(p256.0),
            DecodingKey::from_ec_pem(p256.1.as_bytes()).unwrap(),
            public(&ECDSA_P256_SHA256_FIXED, p256.1, 26),
        ),
        cases(
            "RS256",
            private(rsa.0),
            DecodingKey::from_rsa_pem(rsa.1.as_bytes()).unwrap(),
            public(&RSA_PKCS1_2048_8192_SHA256, rsa.1, 24),
        ),
    ];
    println!(
        "| algorithm | mainstay, 1/s | jsonwebtoken, 1/s | ratio | signature alone, ns | ours beside it, ns |"
    );
    println!("|---|---|---|---|---|---|");
    for Cases { name, token, cases } in &all {
        let mut samples = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            for (case, samples) in cases.iter().zip(&mut samples) {
                samples.push(once(case, token));
            }
        }
        let [ours, theirs, alone] = samples.map(|mut samples: Vec<f64>| {
            samples.sort_by(f64::total_cmp);
            samples[samples.len() / 10]
        });
        println!(
            "| {name} | {:.0} | {:.0} | {:.2} | {alone:.0} | {:.0} |",
            1e9 / ours,
            1e9 / theirs,
            theirs / ours,
            ours - alone
        );
    }
}
