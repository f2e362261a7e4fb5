//! The keys of a service.

use std::time::Duration;

use super::jwk;
use super::{Key, KeyError};

/// Most keys in a ring.
const MAX_KEYS: usize = 16;

/// How long others may keep the published keys: what a new key waits before it signs.
const PUBLISHED_FOR: Duration = Duration::from_secs(300);

/// The keys of a service: one signs, all of them check. Cheap to clone.
///
/// To change the key: let the new one check everywhere first ([`also`](Self::also)), then sign with it and keep the
/// old one to check, and take that away when the last token it signed has expired.
#[derive(Debug, Clone)]
pub struct Keys {
    keys: Vec<Key>,
    signs: bool,
}

impl Keys {
    /// A ring of a key that signs.
    ///
    /// # Errors
    /// [`KeyError::Public`] for one that only checks.
    pub fn signing(key: Key) -> Result<Self, KeyError> {
        if key.signs() { Ok(Self { keys: vec![key], signs: true }) } else { Err(KeyError::Public) }
    }

    /// A ring that only checks.
    #[must_use]
    pub fn checking(key: Key) -> Self {
        Self { keys: vec![key], signs: false }
    }

    /// The same ring with one more key to check with.
    ///
    /// # Errors
    /// [`KeyError::Twice`] if it has one of this id, [`KeyError::TooMany`] beyond 16.
    pub fn also(mut self, key: Key) -> Result<Self, KeyError> {
        if self.keys.iter().any(|other| other.id() == key.id()) {
            return Err(KeyError::Twice { id: key.id().to_owned() });
        }
        if self.keys.len() == MAX_KEYS {
            return Err(KeyError::TooMany { most: MAX_KEYS });
        }
        self.keys.push(key);
        Ok(self)
    }

    /// The key that signs.
    #[must_use]
    pub fn signer(&self) -> Option<&Key> {
        self.keys.first().filter(|_| self.signs)
    }

    pub(super) fn all(&self) -> &[Key] {
        &self.keys
    }

    /// The public keys as others fetch them (RFC 7517, section 5): to be served as
    /// `/.well-known/jwks.json`. Secrets are not among them.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        let keys: Vec<_> = self.keys.iter().filter_map(jwk::written).collect();
        Jwks { document: serde_json::json!({ "keys": keys }), max_age: PUBLISHED_FOR }
    }
}

/// A set of public keys to be served.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Jwks {
    /// The body, of type `application/jwk-set+json`.
    pub document: serde_json::Value,
    /// How long it may be kept.
    pub max_age: Duration,
}

impl Jwks {
    /// Whether there is any: secrets are not published.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.document["keys"].as_array().is_some_and(|keys| !keys.is_empty())
    }

    /// The header `Cache-Control`.
    #[must_use]
    pub fn cache_control(&self) -> String {
        format!("public, max-age={}", self.max_age.as_secs())
    }
}
