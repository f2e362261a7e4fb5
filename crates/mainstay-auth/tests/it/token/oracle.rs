//! What must become of a token, said from how it was made: a second reading of the rules, in another manner.

use mainstay_core::config::JwtAlgorithm;
use serde_json::Value;

use super::case::{AUDIENCE, Case, Form, ISSUER, LEEWAY, LIFETIME, Members, Signed};
use crate::keys::name;

/// Half a microsecond: dates are compared as floating-point numbers here.
const HALF: f64 = 5e-7;

/// Whether a verifier with the key `own` of this algorithm, and others of other algorithms, must let it pass.
pub(super) fn passes(case: &Case, algorithm: JwtAlgorithm, own: &str, now: i64) -> bool {
    case.form == Form::Plain
        && case.signed == Signed::Well
        && header_passes(&case.header, algorithm, own)
        && claims_pass(&case.claims, now as f64)
}

/// The values by unescaped names, or nothing if one stands there twice, or is no JSON.
fn read(members: &Members) -> Option<serde_json::Map<String, Value>> {
    let mut map = serde_json::Map::new();
    for (name, value) in members {
        let name: String = serde_json::from_str(&format!("\"{name}\"")).ok()?;
        let value: Value = serde_json::from_str(value).ok()?;
        if map.insert(name, value).is_some() {
            return None;
        }
    }
    (map.len() <= 64).then_some(map)
}

fn header_passes(header: &Members, algorithm: JwtAlgorithm, own: &str) -> bool {
    let Some(header) = read(header) else { return false };
    let forbidden = ["jku", "jwk", "x5u", "x5c", "crit"].iter().any(|name| header.contains_key(*name));
    let typ = match header.get("typ") {
        None => true,
        Some(Value::String(typ)) => ["jwt", "at+jwt"].contains(&typ.to_lowercase().as_str()),
        Some(_) => false,
    };
    let kid = match header.get("kid") {
        None => true,
        Some(kid) => kid == own,
    };
    !forbidden && typ && kid && header.get("alg") == Some(&Value::from(name(algorithm)))
}

fn claims_pass(claims: &Members, now: f64) -> bool {
    let Some(claims) = read(claims) else { return false };
    let length_within = |value: &Value, most: usize| {
        value.as_str().is_some_and(|text| !text.is_empty() && text.len() <= most)
    };
    let optional = |name: &str, good: &dyn Fn(&Value) -> bool| claims.get(name).is_none_or(good);
    let list = |value: &Value, most: usize, good: &dyn Fn(&Value) -> bool| {
        value.as_array().is_some_and(|all| all.len() <= most && all.iter().all(good))
    };

    let audience = match claims.get("aud") {
        Some(Value::Array(all)) => {
            all.contains(&Value::from(AUDIENCE)) && all.len() <= 32 && all.iter().all(Value::is_string)
        }
        Some(one) => one == AUDIENCE,
        None => false,
    };
    let (leeway, lifetime) = (LEEWAY as f64, LIFETIME as f64);
    let date =
        |value: &Value| value.as_f64().filter(|date| !date.is_sign_negative() && *date < 253_402_300_800.0);
    let Some(expires) = claims.get("exp").and_then(date) else { return false };
    let begun = |value: &Value| date(value).is_some_and(|from| from - now < leeway + HALF);
    let short = match claims.get("iat") {
        None => true,
        Some(value) => date(value).is_some_and(|issued| expires - issued < lifetime + HALF),
    };

    audience
        && claims.get("iss") == Some(&Value::from(ISSUER))
        && claims.get("sub").is_some_and(|subject| length_within(subject, 256))
        && optional("jti", &|id| length_within(id, 128))
        && optional("sid", &|id| length_within(id, 128))
        && optional("roles", &|roles| list(roles, 64, &|role| length_within(role, 64)))
        && now - expires < leeway - HALF
        && expires - now < lifetime + leeway + HALF
        && short
        && optional("nbf", &begun)
        && optional("iat", &begun)
}
