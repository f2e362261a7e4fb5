//! Tokens to and from the npm package `jsonwebtoken`, which most services in Node use.

use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use mainstay_auth::token::{IssueOptions, Issuer, Key, Keys, NewClaims, Verifier, VerifyOptions};
use mainstay_core::config::JwtAlgorithm;
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_testkit::program;
use serde_json::{Value, json};

use crate::keys::{self, ALGORITHMS, SECRET, name};

/// Reads requests from its input, and answers each in a line.
const SCRIPT: &str = r"
const jwt = require(process.argv[1]);
const requests = JSON.parse(require('fs').readFileSync(0));
const answer = ({ sign, verify, key, options }) => {
  try {
    return { ok: sign ? jwt.sign(sign, key, options) : jwt.verify(verify, key, options) };
  } catch (error) {
    return { error: error.message };
  }
};
console.log(JSON.stringify(requests.map(answer)));
";

/// The answers of the package to these requests.
fn ask(requests: &Value) -> Vec<Value> {
    let module =
        Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("npm").join("node_modules/jsonwebtoken");
    assert!(
        module.join("package.json").is_file(),
        "the npm package jsonwebtoken is missing: `cargo xtask test`, or \
         `npm install --no-save --prefix target/npm jsonwebtoken@9.0.2`, installs it"
    );
    let mut node = Command::new(program("node", "nodejs"))
        .args(["-e", SCRIPT])
        .arg(module)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(node.stdin.take().unwrap(), requests).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// It knows no EdDSA.
fn algorithms() -> impl Iterator<Item = JwtAlgorithm> {
    ALGORITHMS.into_iter().filter(|algorithm| *algorithm != JwtAlgorithm::EdDSA)
}

fn private(algorithm: JwtAlgorithm) -> &'static str {
    keys::pair(algorithm).map_or(SECRET, |(private, _)| private)
}

fn public(algorithm: JwtAlgorithm) -> &'static str {
    keys::pair(algorithm).map_or(SECRET, |(_, public)| public)
}

fn verifier(key: Key) -> Verifier {
    let options = VerifyOptions::new("issuer", "audience");
    Verifier::new(Keys::checking(key), options, &Metrics::new(), Clock::system()).unwrap()
}

#[tokio::test]
async fn what_the_npm_package_signs_is_verified_here() {
    let options = |algorithm, extra: Value| {
        let mut options = json!({
            "algorithm": name(algorithm), "issuer": "issuer", "audience": "audience", "subject": "user-1",
            "expiresIn": "15m", "jwtid": "token-1",
        });
        options.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        options
    };
    let mut requests = Vec::new();
    for algorithm in algorithms() {
        let kid = keys::public(algorithm).id().to_owned();
        for extra in
            [json!({}), json!({ "keyid": kid }), json!({ "notBefore": 0, "audience": ["x", "audience"] })]
        {
            let options = options(algorithm, extra);
            requests.push(
                json!({ "sign": { "roles": ["admin"] }, "key": private(algorithm), "options": options }),
            );
        }
        for wrong in
            [json!({ "audience": "other" }), json!({ "expiresIn": -60 }), json!({ "notBefore": 600 })]
        {
            let options = options(algorithm, wrong);
            requests.push(
                json!({ "sign": { "roles": ["admin"] }, "key": private(algorithm), "options": options }),
            );
        }
    }
    let answers = ask(&requests.into());
    for (algorithm, tokens) in algorithms().zip(answers.chunks(6)) {
        let verifier = verifier(keys::public(algorithm));
        for (i, token) in tokens.iter().enumerate() {
            let token = token["ok"].as_str().unwrap_or_else(|| panic!("{algorithm:?}: {token}"));
            let verdict = verifier.verify(token).await;
            assert_eq!(verdict.is_ok(), i < 3, "{algorithm:?} {i}: {verdict:?}");
            if let Ok(claims) = verdict {
                assert_eq!((claims.subject.as_str(), claims.id.as_deref()), ("user-1", Some("token-1")));
                assert_eq!(claims.roles, ["admin"]);
            }
        }
    }
}

#[test]
fn what_is_signed_here_the_npm_package_verifies() {
    let lifetime = std::time::Duration::from_secs(900);
    let options = IssueOptions { issuer: "issuer".to_owned(), audience: "audience".to_owned(), lifetime };
    let claims = NewClaims {
        subject: "user-1".to_owned(),
        roles: vec!["admin".to_owned()],
        session: Some("session-1".to_owned()),
    };
    let mut requests = Vec::new();
    let mut issued = Vec::new();
    for algorithm in algorithms() {
        let ring = Keys::signing(keys::key(algorithm)).unwrap();
        let one = Issuer::new(&ring, options.clone(), Clock::system()).unwrap().issue(&claims).unwrap();
        let token = one.token.expose();
        let rules = |audience: &str, algorithm: &str| json!({ "algorithms": [algorithm], "issuer": "issuer", "audience": audience, "maxAge": "1h" });
        let key = public(algorithm);
        let changed = format!("{}{}", &token[..token.len() - 8], "AAAAAAAA");
        let other = if algorithm == JwtAlgorithm::HS256 { "HS512" } else { "HS256" };
        requests.extend([
            json!({ "verify": token, "key": key, "options": rules("audience", &name(algorithm)) }),
            json!({ "verify": token, "key": key, "options": rules("other", &name(algorithm)) }),
            json!({ "verify": token, "key": key, "options": rules("audience", other) }),
            json!({ "verify": changed, "key": key, "options": rules("audience", &name(algorithm)) }),
        ]);
        issued.push(one);
    }
    let answers = ask(&requests.into());
    for ((algorithm, issued), answers) in algorithms().zip(issued).zip(answers.chunks(4)) {
        let claims = &answers[0]["ok"];
        assert_eq!(claims["sub"], "user-1", "{algorithm:?}: {}", answers[0]);
        assert_eq!(claims["roles"], json!(["admin"]));
        assert_eq!(claims["sid"], "session-1");
        assert_eq!(claims["jti"], issued.id);
        assert_eq!(claims["exp"], issued.expires.as_second());
        let age = Timestamp::now().as_second() as f64 - claims["iat"].as_f64().unwrap();
        assert!(age.abs() < 60.0, "{age}");
        assert!(answers[1..].iter().all(|answer| answer["error"].is_string()), "{algorithm:?}: {answers:?}");
    }
}

#[tokio::test]
async fn the_template_s_secret_and_token_work_as_they_are() {
    let payload = json!({ "sub": "user-1", "iss": "issuer", "aud": "audience" });
    let options = json!({ "expiresIn": "1h" });
    let answers = ask(&json!([{ "sign": payload, "key": SECRET, "options": options }]));
    let verdict =
        verifier(keys::secret(JwtAlgorithm::HS256)).verify(answers[0]["ok"].as_str().unwrap()).await;
    assert_eq!(verdict.unwrap().subject, "user-1");
}
