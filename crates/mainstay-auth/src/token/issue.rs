//! Making tokens.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::{SignedDuration, Timestamp};
use mainstay_core::secret::Secret;
use mainstay_core::time::Clock;
use serde::Serialize;
use zeroize::Zeroizing;

use super::claims::{MAX_ID, MAX_ROLE, MAX_ROLES, MAX_SUBJECT};
use super::strict::MAX_TOKEN;
use super::{Error, Key, KeyError, Keys, scheme};

/// What all tokens of an [`Issuer`] say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueOptions {
    /// `iss`
    pub issuer: String,
    /// `aud`
    pub audience: String,
    /// From `iat` to `exp`: at least a second, a part of one is dropped.
    pub lifetime: Duration,
}

/// What one token says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewClaims {
    /// `sub`: 1 to 256 bytes.
    pub subject: String,
    /// `roles`: up to 64 of 1 to 64 bytes.
    pub roles: Vec<String>,
    /// `sid`: 1 to 128 bytes.
    pub session: Option<String>,
}

/// A token that was made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Issued {
    /// The token.
    pub token: Secret<String>,
    /// Its `jti`.
    pub id: String,
    /// Its `exp`.
    pub expires: Timestamp,
}

/// Makes tokens with the key that signs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Issuer {
    key: Key,
    options: IssueOptions,
    clock: Clock,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

#[derive(Serialize)]
struct Body<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    jti: &'a str,
    /// With microseconds, so that a token issued in the same second as its subject's tokens were revoked, but
    /// after, is not one of them.
    iat: f64,
    exp: i64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    roles: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
}

impl Issuer {
    /// One that signs with the key of this ring.
    ///
    /// # Errors
    /// [`KeyError::Public`] if the ring only checks, [`KeyError::Option`] for an empty issuer or audience, or a lifetime
    /// below a second or above ten years.
    pub fn new(keys: &Keys, options: IssueOptions, clock: Clock) -> Result<Self, KeyError> {
        let wrong = |field, reason| Err(KeyError::Option { field, reason });
        if options.issuer.is_empty() {
            return wrong("issuer", "must not be empty");
        }
        if options.audience.is_empty() {
            return wrong("audience", "must not be empty");
        }
        if !(1..=10 * 366 * 86_400).contains(&options.lifetime.as_secs()) {
            return wrong("lifetime", "must be from a second to ten years");
        }
        let key = keys.signer().cloned().ok_or(KeyError::Public)?;
        Ok(Self { key, options, clock })
    }

    /// A token of a new, random id, valid from now on.
    ///
    /// # Errors
    /// [`Error::Claims`] if no verifier would take it, [`Error::Signing`].
    pub fn issue(&self, claims: &NewClaims) -> Result<Issued, Error> {
        self.issue_as_of(claims, self.clock.wall())
    }

    /// As [`issue`](Self::issue), for claims that were read after this moment (by the clock of this machine): whatever
    /// revokes all tokens of the subject after it revokes this one too, also if it came between the reading and here.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn issue_as_of(&self, claims: &NewClaims, read: Timestamp) -> Result<Issued, Error> {
        check(claims)?;
        let id = BASE64URL.encode(rand::random::<[u8; 16]>());
        let now = read.min(self.clock.wall());
        let lifetime = i64::try_from(self.options.lifetime.as_secs()).expect("at most ten years");
        let expires = now
            .checked_add(SignedDuration::from_secs(lifetime))
            .and_then(|at| Timestamp::from_second(at.as_second()))
            .map_err(|_| Error::Signing)?;
        let header = Header { alg: scheme::name(self.key.algorithm()), typ: "JWT", kid: self.key.id() };
        let body = Body {
            iss: &self.options.issuer,
            aud: &self.options.audience,
            sub: &claims.subject,
            jti: &id,
            iat: now.as_microsecond() as f64 / 1e6,
            exp: expires.as_second(),
            roles: &claims.roles,
            sid: claims.session.as_deref(),
        };
        let mut token = Zeroizing::new(String::with_capacity(1024));
        append(&mut token, &header);
        token.push('.');
        append(&mut token, &body);
        let signature = self.key.sign(token.as_bytes()).ok_or(Error::Signing)?;
        token.push('.');
        BASE64URL.encode_string(signature, &mut token);
        if token.len() > MAX_TOKEN {
            return Err(Error::Claims { field: "roles", reason: "make the token longer than 8 KiB" });
        }
        Ok(Issued { token: Secret::new(token.as_str().to_owned()), id, expires })
    }
}

fn append(token: &mut String, part: &impl Serialize) {
    let json = serde_json::to_vec(part).expect("texts and numbers are JSON");
    BASE64URL.encode_string(json, token);
}

/// What the strict validator would refuse is not signed.
fn check(claims: &NewClaims) -> Result<(), Error> {
    let wrong = |field, reason| Err(Error::Claims { field, reason });
    let fits = |text: &str, most| (1..=most).contains(&text.len());
    if !fits(&claims.subject, MAX_SUBJECT) {
        return wrong("subject", "must have 1 to 256 bytes");
    }
    if claims.session.as_deref().is_some_and(|session| !fits(session, MAX_ID)) {
        return wrong("session", "must have 1 to 128 bytes");
    }
    if claims.roles.len() > MAX_ROLES || !claims.roles.iter().all(|role| fits(role, MAX_ROLE)) {
        return wrong("roles", "must be up to 64 of 1 to 64 bytes each");
    }
    Ok(())
}
