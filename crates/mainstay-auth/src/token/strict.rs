//! Reading what somebody sent: everything that is not exactly as it should be is refused.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Reason;
use super::key::is_id;

/// Longest token, in bytes.
pub(super) const MAX_TOKEN: usize = 8 << 10;

/// Most members of a header or of claims: looking for one that stands there twice is quadratic.
const MAX_MEMBERS: usize = 64;

/// Headers that bring a key, name a place to get one from, or change the meaning of the rest. Whoever heeds them lets
/// the sender choose the key (RFC 8725, section 3.10).
const FORBIDDEN: &[&str] = &["jku", "x5u", "jwk", "x5c", "crit"];

/// A token in its parts (RFC 7515, section 3.1).
pub(super) struct Parts<'a> {
    pub(super) header: Header,
    /// What is signed.
    pub(super) message: &'a [u8],
    pub(super) signature: Vec<u8>,
    claims: &'a str,
}

/// What the header says and is looked at.
pub(super) struct Header {
    pub(super) algorithm: String,
    pub(super) key: Option<String>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(token: &'a str) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN {
            return Err(Reason::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Reason::Malformed)?;
        if claims.contains('.') {
            return Err(Reason::Malformed);
        }
        let header = Header::of(&decoded(header)?)?;
        Ok(Self { header, message: message.as_bytes(), signature: decoded(signature)?, claims })
    }

    /// The claims, in bytes: to be read once the signature is known to be good.
    pub(super) fn claims(&self) -> Result<Vec<u8>, Reason> {
        decoded(self.claims)
    }
}

/// Canonical base64url: no padding, no white space, no bits left over.
fn decoded(part: &str) -> Result<Vec<u8>, Reason> {
    BASE64URL.decode(part).map_err(|_| Reason::Malformed)
}

impl Header {
    fn of(json: &[u8]) -> Result<Self, Reason> {
        let object = Object::of(json)?;
        if object.names().any(|name| FORBIDDEN.contains(&name)) {
            return Err(Reason::Header);
        }
        let typ: Option<String> = object.optional("typ").map_err(|_| Reason::Header)?;
        // Names of media types are compared without regard to case (RFC 7515, section 4.1.9).
        let known = |typ: &String| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt");
        if !typ.as_ref().is_none_or(known) {
            return Err(Reason::Header);
        }
        let key: Option<String> = object.optional("kid").map_err(|_| Reason::Header)?;
        if !key.as_deref().is_none_or(is_id) {
            return Err(Reason::Header);
        }
        let algorithm = object.optional("alg").ok().flatten().ok_or(Reason::Algorithm)?;
        Ok(Self { algorithm, key })
    }
}

/// A JSON object whose members stand there once each. What is inside them is not looked at until it is asked for.
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    pub(super) fn of(json: &'a [u8]) -> Result<Self, Reason> {
        let Members(members) = serde_json::from_slice(json).map_err(|_| Reason::Malformed)?;
        if members.len() > MAX_MEMBERS {
            return Err(Reason::Malformed);
        }
        let twice = |(at, (name, _)): (usize, &(Cow<'_, str>, _))| {
            members[..at].iter().any(|(other, _)| other == name)
        };
        if members.iter().enumerate().any(twice) {
            return Err(Reason::Duplicate);
        }
        Ok(Self(members))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// A member that may be missing, but may not be `null` or of another type.
    pub(super) fn optional<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Reason> {
        match self.0.iter().find(|(other, _)| other == name) {
            None => Ok(None),
            Some((_, value)) => serde_json::from_str(value.get()).map(Some).map_err(|_| Reason::Claim),
        }
    }

    pub(super) fn required<T: Deserialize<'a>>(&self, name: &str) -> Result<T, Reason> {
        self.optional(name)?.ok_or(Reason::Missing)
    }
}

/// The members in their order, those that stand there twice too.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Each)
    }
}

/// A text that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
