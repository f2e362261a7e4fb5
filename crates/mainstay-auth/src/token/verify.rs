//! Who may pass.

use std::time::Duration;

use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;

use super::claims::Rules;
use super::error::MAX_LEEWAY;
use super::meters::Meters;
use super::strict::Parts;
use super::{Claims, Error, Key, KeyError, Keys, Reason, RemoteKeys, scheme};

/// Most keys that a token without a `kid` is tried with.
const MAX_TRIES: usize = 4;

/// What a [`Verifier`] asks of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyOptions {
    /// The only `iss`.
    pub issuer: String,
    /// One of its `aud`.
    pub audience: String,
    /// How wrong clocks may be; at most 60 s.
    pub leeway: Duration,
    /// How long a token may be valid; of one that does not say since when, from now on.
    pub max_lifetime: Duration,
}

impl VerifyOptions {
    /// Tokens by `issuer` for `audience`, with a leeway of 30 s, valid for up to an hour.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            leeway: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(3600),
        }
    }
}

/// Where the keys are.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Here.
    Own(Keys),
    /// At the issuer's.
    Remote(RemoteKeys),
}

impl From<Keys> for KeySource {
    fn from(keys: Keys) -> Self {
        Self::Own(keys)
    }
}

impl From<RemoteKeys> for KeySource {
    fn from(keys: RemoteKeys) -> Self {
        Self::Remote(keys)
    }
}

/// Judges tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: KeySource,
    rules: Rules,
    clock: Clock,
    meters: Meters,
}

impl Verifier {
    /// One that knows these keys.
    ///
    /// # Errors
    /// [`KeyError::Option`] for an empty issuer or audience, a leeway above 60 s, or a lifetime of zero.
    pub fn new(
        keys: impl Into<KeySource>,
        options: VerifyOptions,
        metrics: &Metrics,
        clock: Clock,
    ) -> Result<Self, KeyError> {
        let VerifyOptions { issuer, audience, leeway, max_lifetime } = options;
        let wrong = |field, reason| Err(KeyError::Option { field, reason });
        if issuer.is_empty() {
            return wrong("issuer", "must not be empty");
        }
        if audience.is_empty() {
            return wrong("audience", "must not be empty");
        }
        if leeway > MAX_LEEWAY {
            return wrong("leeway", "must be at most 60 s");
        }
        if max_lifetime.is_zero() {
            return wrong("max_lifetime", "must not be zero");
        }
        let rules = Rules { issuer, audience, leeway, max_lifetime };
        Ok(Self { keys: keys.into(), rules, clock, meters: Meters::new(metrics) })
    }

    /// What the token says, if it may be believed. Dropping the future changes nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`]; [`Error::Unavailable`] if the keys are elsewhere and were never fetched, or the token names
    /// one that is not known and the issuer does not answer.
    pub async fn verify(&self, token: &str) -> Result<Claims, Error> {
        let verdict = self.judge(token).await;
        self.meters.checked(&verdict);
        verdict
    }

    async fn judge(&self, token: &str) -> Result<Claims, Error> {
        let parts = Parts::of(token).map_err(Error::invalid)?;
        match &self.keys {
            KeySource::Own(keys) => self.judge_with(&parts, keys.all()),
            KeySource::Remote(remote) => {
                let keys = remote.keys(parts.header.key.as_deref()).await?;
                self.judge_with(&parts, &keys)
            }
        }
    }

    fn judge_with(&self, parts: &Parts<'_>, keys: &[Key]) -> Result<Claims, Error> {
        check_signature(parts, keys).map_err(Error::invalid)?;
        let claims = parts.claims().map_err(Error::invalid)?;
        self.rules.check(&claims, self.clock.wall()).map_err(Error::invalid)
    }
}

/// A `kid` names the key, and the key its algorithm. Without one the keys of the algorithm are tried, each with no
/// other than its own.
fn check_signature(parts: &Parts<'_>, keys: &[Key]) -> Result<(), Reason> {
    let says = |key: &&Key| scheme::name(key.algorithm()) == parts.header.algorithm;
    let checks = |key: &Key| key.checks(parts.message, &parts.signature);
    let good = if let Some(id) = &parts.header.key {
        let key = keys.iter().find(|key| key.id() == id).ok_or(Reason::UnknownKey)?;
        if !says(&key) {
            return Err(Reason::Algorithm);
        }
        checks(key)
    } else {
        let mut tried = keys.iter().filter(says).take(MAX_TRIES).peekable();
        if tried.peek().is_none() {
            return Err(Reason::Algorithm);
        }
        tried.any(checks)
    };
    if good { Ok(()) } else { Err(Reason::Signature) }
}
