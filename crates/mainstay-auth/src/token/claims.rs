//! What a token says.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::Reason;
use super::strict::Object;

/// Longest subject, in bytes.
pub(super) const MAX_SUBJECT: usize = 256;
/// Longest id of a token or of a session, in bytes.
pub(super) const MAX_ID: usize = 128;
/// Most roles in a token.
pub(super) const MAX_ROLES: usize = 64;
/// Longest name of a role, in bytes.
pub(super) const MAX_ROLE: usize = 64;
/// Most audiences of a token.
const MAX_AUDIENCES: usize = 32;
/// The end of the year 9999, in seconds since 1970: what comes after is no date.
const END: f64 = 253_402_300_800.0;

/// The claims of a token that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claims {
    /// `sub`: who it is.
    pub subject: String,
    /// `roles`
    pub roles: Vec<String>,
    /// `jti`: the id of the token.
    pub id: Option<String>,
    /// `sid`: the session it belongs to.
    pub session: Option<String>,
    /// `iat`: when it was issued.
    pub issued: Option<Timestamp>,
    /// `exp`: from then on it is worth nothing.
    pub expires: Timestamp,
}

/// What must be true of claims.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) leeway: Duration,
    pub(super) max_lifetime: Duration,
}

impl Rules {
    /// The claims, if all is as it should be.
    pub(super) fn check(&self, json: &[u8], now: Timestamp) -> Result<Claims, Reason> {
        let object = Object::of(json)?;
        let Date(expires) = object.required("exp")?;
        let issuer: String = object.required("iss")?;
        let audience: Audience = object.required("aud")?;
        let subject: String = object.required("sub")?;
        let early: Option<Date> = object.optional("nbf")?;
        let issued: Option<Date> = object.optional("iat")?;
        let id: Option<String> = object.optional("jti")?;
        let session: Option<String> = object.optional("sid")?;
        let roles: Vec<String> = object.optional("roles")?.unwrap_or_default();

        let bounded = |text: &String, most| (1..=most).contains(&text.len());
        let ids_fit = [&id, &session].into_iter().flatten().all(|text| bounded(text, MAX_ID));
        let roles_fit = roles.len() <= MAX_ROLES && roles.iter().all(|role| bounded(role, MAX_ROLE));
        if !bounded(&subject, MAX_SUBJECT) || !ids_fit || !roles_fit {
            return Err(Reason::Claim);
        }
        if issuer != self.issuer {
            return Err(Reason::Issuer);
        }
        if !audience.has(&self.audience)? {
            return Err(Reason::Audience);
        }
        let issued = issued.map(|Date(issued)| issued);
        let early = early.into_iter().map(|Date(early)| early).chain(issued).max();
        self.check_times(now, expires, early, issued)?;
        Ok(Claims { subject, roles, id, session, issued, expires })
    }

    /// A clock that is wrong by the leeway makes neither end of a token wrong.
    fn check_times(
        &self,
        now: Timestamp,
        expires: Timestamp,
        early: Option<Timestamp>,
        issued: Option<Timestamp>,
    ) -> Result<(), Reason> {
        let leeway = signed(self.leeway);
        if now.duration_since(expires) >= leeway {
            return Err(Reason::Expired);
        }
        if early.is_some_and(|early| early.duration_since(now) > leeway) {
            return Err(Reason::Early);
        }
        let longest = signed(self.max_lifetime);
        let from_now = expires.duration_since(now) > longest.saturating_add(leeway);
        if from_now || issued.is_some_and(|issued| expires.duration_since(issued) > longest) {
            return Err(Reason::Lifetime);
        }
        Ok(())
    }
}

fn signed(time: Duration) -> SignedDuration {
    SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)
}

/// Seconds since 1970, with or without a fraction (RFC 7519, section 2), in whole microseconds.
struct Date(Timestamp);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let wrong = || D::Error::custom("no date");
        let seconds = number.as_f64().ok_or_else(wrong)?;
        if seconds.is_sign_negative() || seconds >= END {
            return Err(wrong());
        }
        #[expect(clippy::cast_possible_truncation, reason = "below the year 10,000")]
        let micros = (seconds * 1e6).round() as i64;
        Timestamp::from_microsecond(micros).map(Self).map_err(|_| wrong())
    }
}

/// One, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn has(&self, wanted: &str) -> Result<bool, Reason> {
        match self {
            Self::One(one) => Ok(one == wanted),
            Self::Several(all) if all.is_empty() || all.len() > MAX_AUDIENCES => Err(Reason::Claim),
            Self::Several(all) => Ok(all.iter().any(|one| one == wanted)),
        }
    }
}
