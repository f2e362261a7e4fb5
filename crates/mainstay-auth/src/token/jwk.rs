//! Public keys as JSON (RFC 7517, RFC 7518 section 6, RFC 8037).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use serde_json::Value;

use super::Key;
use super::key::{Public, is_id};
use super::scheme::{self, P256, P384, asymmetric};

/// Most keys that are taken from one set.
const MAX_KEYS: usize = 64;

/// The key as others read it; nothing for a secret.
pub(super) fn written(key: &Key) -> Option<Value> {
    let mut jwk: Value = match key.public() {
        Public::Hmac(_) => return None,
        public => serde_json::from_str(&public.canonical()).expect("the canonical form is JSON"),
    };
    jwk["kid"] = key.id().into();
    jwk["alg"] = scheme::name(key.algorithm()).into();
    jwk["use"] = "sig".into();
    Some(jwk)
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a set that check signatures; of two with one id the first. What is no such key is left out, as RFC 7517
/// asks. `None` if this is no set.
pub(super) fn read(document: &[u8]) -> Option<Vec<Key>> {
    let set: Set = serde_json::from_slice(document).ok()?;
    let mut keys: Vec<Key> = Vec::new();
    for key in set.keys.into_iter().filter_map(key) {
        if keys.len() < MAX_KEYS && keys.iter().all(|other| other.id() != key.id()) {
            keys.push(key);
        }
    }
    Some(keys)
}

fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let checks = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
        && jwk.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
    if !checks {
        return None;
    }
    let bytes = |text: &Option<String>| BASE64URL.decode(text.as_ref()?).ok();
    let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => Public::Rsa { n: bytes(&jwk.n)?, e: bytes(&jwk.e)? },
        ("EC", Some(crv)) => {
            let curve = [&P256, &P384].into_iter().find(|curve| curve.name == crv)?;
            let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
            if x.len() != curve.size || y.len() != curve.size {
                return None;
            }
            Public::Ec { curve, point: [&[4], x.as_slice(), y.as_slice()].concat() }
        }
        ("OKP", Some("Ed25519")) => Public::Ed25519(bytes(&jwk.x)?),
        _ => return None,
    };
    // An algorithm that is unknown, or a secret's, makes the key unusable: it is never guessed over.
    let algorithm = match jwk.alg.as_deref() {
        None => None,
        Some(name) => Some(asymmetric(name)?),
    };
    let key = Key::pinned(algorithm, public, None).ok()?;
    match jwk.kid {
        None => Some(key),
        Some(id) if is_id(&id) => key.with_id(&id).ok(),
        Some(_) => None,
    }
}
