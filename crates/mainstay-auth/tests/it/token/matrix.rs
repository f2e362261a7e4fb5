//! Every algorithm with every trick, and what must become of it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_auth::token::{Error, Keys, Verifier, VerifyOptions};
use mainstay_core::config::JwtAlgorithm;
use mainstay_core::metrics::Metrics;
use mainstay_testkit::{Rng, Seed};

use super::case::{AUDIENCE, Case, FORMS, ISSUER, LEEWAY, LIFETIME, Part, SIGNED, Signed, good, text};
use super::{at, oracle, witness};
use crate::keys::{self, ALGORITHMS, name};

/// Tokens in which several things are done at once, for each algorithm.
const MIXED: u64 = 150;

/// One algorithm under test, with a key of another one beside it in the ring.
struct Bench {
    algorithm: JwtAlgorithm,
    own: String,
    other: String,
    verifier: Verifier,
    sign: keys::Sign,
    now: i64,
}

impl Bench {
    fn new(algorithm: JwtAlgorithm, now: i64) -> Self {
        let own = keys::key(algorithm);
        let other = if keys::pair(algorithm).is_some() { JwtAlgorithm::HS256 } else { JwtAlgorithm::EdDSA };
        let other = keys::key(other);
        let ids = (own.id().to_owned(), other.id().to_owned());
        let options = VerifyOptions {
            leeway: Duration::from_secs(LEEWAY.unsigned_abs()),
            max_lifetime: Duration::from_secs(LIFETIME.unsigned_abs()),
            ..VerifyOptions::new(ISSUER, AUDIENCE)
        };
        let keys = Keys::signing(own).unwrap().also(other).unwrap();
        let clock = at(Timestamp::from_second(now).unwrap());
        let verifier = Verifier::new(keys, options, &Metrics::new(), clock).unwrap();
        Self { algorithm, own: ids.0, other: ids.1, verifier, sign: keys::signer(algorithm), now }
    }

    fn good(&self) -> Case {
        good(self.algorithm, &self.own, self.now)
    }

    async fn accepts(&self, token: &str) -> bool {
        match self.verifier.verify(token).await {
            Ok(_) => true,
            Err(Error::Invalid { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// What can be done to the header.
    fn header_tricks(&self) -> Vec<Case> {
        let good = || self.good();
        let header = |name: &str, value: Option<&str>| good().with(Part::Header, name, value);
        let mut cases = vec![good()];
        for typ in ["at+jwt", "AT+JWT", "jwt", "JOSE", "", "application/at+jwt", "dpop+jwt"] {
            cases.push(header("typ", Some(&text(typ))));
        }
        let long = "k".repeat(257);
        for kid in ["", "nobody", "../../etc/passwd", "' OR 1=1 --", "a\nb", "é", &self.other, &long] {
            cases.push(header("kid", Some(&text(kid))));
        }
        for alg in ["none", "None", "nOnE", "", "ES512", "ES256K", "RSA-OAEP", "dir", "Ed25519", "EdDSA "] {
            cases.push(header("alg", Some(&text(alg))));
        }
        cases.push(header("alg", Some(&text(&name(self.algorithm).to_lowercase()))));
        cases.extend(ALGORITHMS.iter().map(|alg| header("alg", Some(&text(&name(*alg))))));
        for wrong in ["null", "true", "7", "[]", "[\"HS256\"]", "{}", "[null]"] {
            for of in ["alg", "typ", "kid"] {
                cases.push(header(of, Some(wrong)));
            }
        }
        for of in ["alg", "typ", "kid"] {
            cases.push(header(of, None));
            let value = good().header.iter().find(|(name, _)| name == of).unwrap().1.clone();
            cases.push(good().and(Part::Header, of, &value));
        }
        for forbidden in ["jku", "x5u", "jwk", "x5c", "crit"] {
            for value in ["\"https://evil.example/keys\"", "null", "[]", "{}", "[\"exp\"]"] {
                cases.push(header(forbidden, Some(value)));
            }
        }
        cases.push(header("j\\u006bu", Some("\"https://evil.example\"")));
        cases.push(good().and(Part::Header, "\\u0061lg", "\"none\""));
        cases.push(good().and(Part::Header, "x", "1").and(Part::Header, "x", "2"));
        for ignored in ["cty", "x5t", "b64", "foo", "zip", "ALG", "enc"] {
            cases.push(header(ignored, Some("\"JWT\"")));
        }
        let many =
            |count: usize| (0..count).fold(good(), |case, i| case.and(Part::Header, &format!("h{i}"), "1"));
        cases.extend([many(61), many(62)]);
        for signed in SIGNED {
            cases.push(Case { signed, ..good() }.named(&format!("{signed:?}")));
            for alg in ["none", "HS256"] {
                for kid in [Some(text(&self.own)), Some(text(&self.other)), None] {
                    let forged = header("alg", Some(&text(alg))).with(Part::Header, "kid", kid.as_deref());
                    cases.push(Case { signed, ..forged }.named(&format!("{signed:?}")));
                }
            }
        }
        cases.extend(FORMS.map(|form| Case { form, ..good() }.named(&format!("{form:?}"))));
        cases
    }

    /// What can be done to one claim.
    fn claim_tricks(&self) -> Vec<Case> {
        let good = || self.good();
        let claim = |name: &str, value: &str| good().with(Part::Claims, name, Some(value));
        let values = [
            "null",
            "true",
            "false",
            "0",
            "1",
            "-1",
            "1.5",
            "-0.0",
            "1e3",
            "1e18",
            "1e400",
            "18446744073709551616",
            "253402300799",
            "253402300800",
            "\"\"",
            "\"text\"",
            "\"1\"",
            "[]",
            "[\"orders\"]",
            "[1]",
            "[null]",
            "[[]]",
            "{}",
            "{\"a\":1}",
            "\"orders\"",
            "\"https://issuer.example\"",
            "\"Orders\"",
            "\"\\u0000\"",
        ];
        let mut cases = Vec::new();
        for (of, value) in good().claims {
            cases.push(good().with(Part::Claims, &of, None));
            cases.push(good().and(Part::Claims, &of, &value));
            cases.push(claim(&of, &text(&value)));
            cases.extend(values.iter().map(|value| claim(&of, value)));
        }
        let (fit, long) = ("x".repeat(128), "x".repeat(129));
        for (of, text_of) in [("sub", "y".repeat(256)), ("sub", "y".repeat(257)), ("sub", "é".repeat(128))] {
            cases.push(claim(of, &text(&text_of)));
        }
        for of in ["jti", "sid"] {
            cases.extend([claim(of, &text(&fit)), claim(of, &text(&long))]);
        }
        let list = |count: usize, item: &str| serde_json::to_string(&vec![item; count]).unwrap();
        let roles =
            [list(64, "r"), list(65, "r"), list(1, &"r".repeat(64)), list(1, &"r".repeat(65)), list(1, "")];
        cases.extend(roles.iter().map(|roles| claim("roles", roles)));
        let audiences = [
            r#"["other","orders"]"#.to_owned(),
            r#"["other"]"#.to_owned(),
            r#"["orders",1]"#.to_owned(),
            r#"[["orders"]]"#.to_owned(),
            r#"["orders","orders"]"#.to_owned(),
            list(32, "orders"),
            list(33, "orders"),
        ];
        cases.extend(audiences.iter().map(|audience| claim("aud", audience)));
        cases.push(good().and(Part::Claims, "x", "1").and(Part::Claims, "x", "1"));
        cases.push(good().and(Part::Claims, "\\u0065xp", "9999999999"));
        cases.push(good().and(Part::Claims, "other", r#"{"exp":1,"exp":2,"a":[{},null]}"#));
        cases
    }

    /// Each date a moment before, at and after each of its limits.
    fn time_edges(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        let steps = [-1_000_000, -1, 0, 1, 500_000, 1_000_000];
        let dates = |of: &str, limit: i64| -> Vec<(String, String)> {
            let shifted = |step: &i64| {
                let micros = (self.now + limit) * 1_000_000 + step;
                (of.to_owned(), format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000))
            };
            steps.iter().map(shifted).collect()
        };
        let limits = [
            ("exp", -LEEWAY),
            ("exp", 0),
            ("exp", LIFETIME - 10),
            ("exp", LIFETIME),
            ("exp", LIFETIME + LEEWAY),
        ];
        let limits = limits.into_iter().chain([("nbf", LEEWAY), ("nbf", 0), ("iat", LEEWAY), ("iat", 0)]);
        let limits = limits.chain([("iat", 600 - LIFETIME), ("iat", -LEEWAY)]);
        for (of, value) in limits.flat_map(|(of, limit)| dates(of, limit)) {
            let case = self.good().with(Part::Claims, &of, Some(&value));
            cases.push(case.clone().with(Part::Claims, "iat", if of == "iat" { Some(&value) } else { None }));
            cases.push(case);
        }
        let crossed = self.good().with(Part::Claims, "iat", Some(&(self.now + 20).to_string()));
        cases.push(crossed.with(Part::Claims, "exp", Some(&(self.now - 20).to_string())));
        cases
    }

    /// Several at once: something of each kind, or nothing.
    fn mixed(&self, rng: &mut Rng, all: [&[Case]; 3]) -> Case {
        let [headers, claims, edges] = all;
        let mut case = self.good();
        if rng.chance(0.5) {
            let other = rng.pick(headers);
            (case.header, case.signed, case.form) = (other.header.clone(), other.signed, other.form);
            case = case.named(&other.what);
        }
        for others in [claims, edges] {
            if rng.chance(0.5) {
                let other = rng.pick(others);
                for ((name, old), (_, new)) in self.good().claims.iter().zip(&other.claims) {
                    if old != new {
                        case = case.with(Part::Claims, name, Some(new));
                    }
                }
            }
        }
        case
    }
}

#[tokio::test]
async fn no_token_is_wrongly_accepted_and_none_wrongly_refused() {
    let seed = Seed::from_env("MAINSTAY_SEED");
    let rounds = MIXED * std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse().expect("a number"));
    let mut rng = seed.rng();
    let now = Timestamp::now().as_second();
    let (mut judged, mut accepted, mut wrong) = (0, 0, Vec::new());
    for algorithm in ALGORITHMS {
        let bench = Bench::new(algorithm, now);
        let (headers, claims, edges) = (bench.header_tricks(), bench.claim_tricks(), bench.time_edges());
        let mixed: Vec<Case> =
            (0..rounds).map(|_| bench.mixed(&mut rng, [&headers, &claims, &edges])).collect();
        for case in headers.iter().chain(&claims).chain(&edges).chain(&mixed) {
            let expected = oracle::passes(case, algorithm, &bench.own, now);
            let got = bench.accepts(&case.token(algorithm, &bench.sign)).await;
            judged += 1;
            accepted += usize::from(got);
            if got != expected {
                wrong.push(format!("{algorithm:?}: {}: accepted {got}, {:?}", case.what, case.claims));
            }
        }
    }
    println!("{judged} tokens, {accepted} accepted");
    assert!(wrong.is_empty(), "{} of {judged} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(judged >= 3_000, "{judged}");
    assert!((judged / 20..judged / 2).contains(&accepted), "{accepted} of {judged} accepted");
}

#[tokio::test]
async fn another_library_says_the_same_or_the_difference_is_known() {
    let now = Timestamp::now().as_second();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut compared, mut unknown) = (0, Vec::new());
    // Checking a signature takes it long, and the longer hashes differ in nothing else.
    let long =
        |algorithm: &JwtAlgorithm| matches!(&name(*algorithm)[..], "RS384" | "RS512" | "PS384" | "PS512");
    for algorithm in ALGORITHMS.into_iter().filter(|algorithm| !long(algorithm)) {
        let bench = Bench::new(algorithm, now);
        let witness = witness::Witness::new(algorithm);
        let mut cases = bench.header_tricks();
        // Whose claims are wrong does not depend on who signed them.
        if matches!(algorithm, JwtAlgorithm::HS256) {
            cases.extend(bench.claim_tricks());
            cases.extend(bench.time_edges());
        }
        let cases = cases.iter().filter(|case| witness.has_a_verdict(case, now));
        for case in cases {
            let token = case.token(algorithm, &bench.sign);
            let (ours, theirs) = (bench.accepts(&token).await, witness.accepts(&token));
            compared += 1;
            match (ours, theirs) {
                (true, true) | (false, false) => {}
                (false, true) if let Some(why) = witness::why_only_we_refuse(case, &bench.own) => {
                    *known.entry(why).or_default() += 1;
                }
                _ => unknown.push(format!("{algorithm:?}: {}: ours {ours}, theirs {theirs}", case.what)),
            }
        }
    }
    println!("{compared} compared; refused by us only: {known:#?}");
    assert!(unknown.is_empty(), "{} of {compared}:\n{}", unknown.len(), unknown.join("\n"));
    let unused: Vec<_> = witness::REASONS.iter().filter(|why| !known.contains_key(**why)).collect();
    assert!(unused.is_empty(), "no longer a difference: {unused:?}");
}

#[tokio::test]
async fn a_key_pair_s_public_half_is_no_secret() {
    for algorithm in ALGORITHMS.into_iter().filter(|algorithm| keys::pair(*algorithm).is_some()) {
        let now = Timestamp::now().as_second();
        let bench = Bench::new(algorithm, now);
        let forged = bench.good().with(Part::Header, "alg", Some("\"HS256\""));
        let forged = Case { signed: Signed::WithPublicKey, ..forged };
        assert!(!bench.accepts(&forged.token(algorithm, &bench.sign)).await, "{algorithm:?}");
    }
}
