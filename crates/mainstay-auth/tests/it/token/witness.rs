//! Another library's verdict, and where it differs.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use mainstay_core::config::JwtAlgorithm;
use serde_json::Value;

use super::case::{AUDIENCE, Case, ISSUER, LEEWAY, Part};
use crate::keys::{self, SECRET, name};

pub(super) struct Witness {
    key: DecodingKey,
    rules: Validation,
}

impl Witness {
    pub(super) fn new(algorithm: JwtAlgorithm) -> Self {
        let key = match (name(algorithm).as_bytes(), keys::pair(algorithm)) {
            (_, None) => DecodingKey::from_secret(SECRET.as_bytes()),
            ([b'R' | b'P', ..], Some((_, public))) => DecodingKey::from_rsa_pem(public.as_bytes()).unwrap(),
            (b"EdDSA", Some((_, public))) => DecodingKey::from_ed_pem(public.as_bytes()).unwrap(),
            (_, Some((_, public))) => DecodingKey::from_ec_pem(public.as_bytes()).unwrap(),
        };
        let algorithm: Algorithm = name(algorithm).parse().unwrap();
        let mut rules = Validation::new(algorithm);
        rules.leeway = LEEWAY.unsigned_abs();
        rules.validate_nbf = true;
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Self { key, rules }
    }

    pub(super) fn accepts(&self, token: &str) -> bool {
        decode::<Value>(token, &self.key, &self.rules).is_ok()
    }

    /// Its clock cannot be held: near a limit it says one thing or the other.
    pub(super) fn has_a_verdict(&self, case: &Case, now: i64) -> bool {
        let near = |name: &str, limit: i64| {
            let date = value(case, Part::Claims, name).and_then(|date| date.as_f64());
            date.is_some_and(|date| (date - (now + limit) as f64).abs() < 20.0)
        };
        !near("exp", -LEEWAY) && !near("nbf", LEEWAY)
    }
}

fn value(case: &Case, part: Part, name: &str) -> Option<Value> {
    let members = if part == Part::Header { &case.header } else { &case.claims };
    let (_, text) = members.iter().find(|(other, _)| other == name)?;
    Some(serde_json::from_str(text).unwrap_or(Value::Null))
}

const KEYS: &str = "it takes the key it is given, whatever the header says of keys and types";
const TWICE: &str = "it reads the last of two members of one name";
const MANY: &str = "it has no bound on members, roles, audiences, lengths";
const PRIVATE: &str = "it does not look at iat, jti, sid and roles";
const LIFETIME: &str = "it lets a token be valid for as long as it likes";
const DATES: &str = "it takes dates after the year 9999 and minus zero, and null for no date";

pub(super) const REASONS: [&str; 6] = [KEYS, TWICE, MANY, PRIVATE, LIFETIME, DATES];

/// Why a token that the other library accepts is refused here, if that is meant to be.
pub(super) fn why_only_we_refuse(case: &Case, own: &str) -> Option<&'static str> {
    let header = |name: &str| value(case, Part::Header, name);
    let claim = |name: &str| value(case, Part::Claims, name);
    let repeated = |members: &super::case::Members| {
        let plain = |name: &str| name.replace("\\u0061", "a").replace("\\u0065", "e");
        (0..members.len()).any(|i| members[..i].iter().any(|(name, _)| plain(name) == plain(&members[i].0)))
    };
    if repeated(&case.header) || repeated(&case.claims) {
        return Some(TWICE);
    }
    let typ = header("typ").and_then(|typ| typ.as_str().map(str::to_lowercase));
    let brings = ["jku", "x5u", "jwk", "x5c", "crit", "j\\u006bu"].iter().any(|name| header(name).is_some());
    let wrong_typ = header("typ").is_some() && !matches!(typ.as_deref(), Some("jwt" | "at+jwt"));
    if brings || wrong_typ || header("kid").is_some_and(|kid| kid != own) {
        return Some(KEYS);
    }
    if case.form == super::case::Form::TooLong || case.header.len() > 64 {
        return Some(MANY);
    }
    let date = |name: &str| claim(name).and_then(|date| date.as_f64());
    let out_of_time = |date: f64| date >= 253_402_300_800.0 || date.is_sign_negative();
    if ["exp", "nbf"].iter().any(|name| date(name).is_some_and(out_of_time))
        || claim("nbf") == Some(Value::Null)
    {
        return Some(DATES);
    }
    if claim("sub").is_some_and(|sub| sub == "" || sub.as_str().is_some_and(|sub| sub.len() > 256)) {
        return Some(MANY);
    }
    if claim("aud").is_some_and(|aud| aud.as_array().is_some_and(|all| all.len() > 32)) {
        return Some(MANY);
    }
    let good = super::case::good(JwtAlgorithm::HS256, own, 0);
    let differs = |name: &str| {
        let (_, value) = good.claims.iter().find(|(other, _)| other == name).unwrap();
        case.claims.iter().find(|(other, _)| other == name).is_some_and(|(_, found)| found != value)
    };
    if ["jti", "sid", "roles"].into_iter().any(differs) {
        return Some(PRIVATE);
    }
    // By now nothing is wrong but the length of its life, or `iat`.
    if date("iat").is_none() && claim("iat").is_some() {
        return Some(PRIVATE);
    }
    match (date("iat"), date("exp")) {
        (Some(issued), Some(expires)) if expires - issued > 3_600.0 => Some(LIFETIME),
        (None, Some(_)) => Some(LIFETIME),
        (Some(_), _) => Some(PRIVATE),
        _ => None,
    }
}
