//! `[auth]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check;
use crate::config::field::{Field, Kind};
use crate::config::section::{Checks, Section, defaults};
use crate::secret::Secret;

/// How tokens are signed (RFC 7518, section 3.1, and RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs)] // the variants are the registered names
pub enum JwtAlgorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// What a token is worth while the list of the revoked ones cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RevocationOutage {
    /// What it says, until it expires: what was revoked elsewhere is not known.
    Allow,
    /// Nothing: nobody is recognised until the list answers.
    Refuse,
}

const ALGORITHMS: &[&str] = &[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
    "EdDSA",
];

/// Keys and rules for tokens and encryption.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Auth {
    /// `JWT_SECRET`: one key for signing and checking, of 32 bytes or more.
    pub jwt_secret: Option<Secret<String>>,
    /// `JWT_RETIRED_SECRET`: the one before, which still checks.
    pub jwt_retired_secret: Option<Secret<String>>,
    /// `JWT_PRIVATE_KEY`: PEM, for signing.
    pub jwt_private_key: Option<Secret<String>>,
    /// `JWT_PUBLIC_KEY`: PEM, for checking.
    pub jwt_public_key: Option<String>,
    /// `JWT_RETIRED_PUBLIC_KEY`: PEM, the one before, which still checks.
    pub jwt_retired_public_key: Option<String>,
    /// `JWT_JWKS_URL`: where to fetch the keys for checking.
    pub jwt_jwks_url: Option<String>,
    /// `JWT_JWKS_PRIVATE`
    pub jwt_jwks_private: bool,
    /// `JWT_ALGORITHM`: unset means the one that fits the key.
    pub jwt_algorithm: Option<JwtAlgorithm>,
    /// `JWT_EXPIRES_IN`: life of an access token.
    #[serde(with = "crate::config::millis")]
    pub jwt_expires_in: Duration,
    /// `JWT_ISSUER`
    pub jwt_issuer: Option<String>,
    /// `JWT_AUDIENCE`
    pub jwt_audience: Option<String>,
    /// `SESSION_IDLE`: a session that is not refreshed for so long is over.
    #[serde(with = "crate::config::millis")]
    pub session_idle: Duration,
    /// `SESSION_LIFETIME`: a session is over after so long.
    #[serde(with = "crate::config::millis")]
    pub session_lifetime: Duration,
    /// `REVOCATION_OUTAGE`: what a token is worth while the list of the revoked ones cannot be read.
    pub revocation_outage: RevocationOutage,
    /// `PASSWORD_MEMORY`: KiB that hashing one password takes.
    pub password_memory: u32,
    /// `PASSWORD_ITERATIONS`: passes over that memory.
    pub password_iterations: u32,
    /// `PASSWORD_CONCURRENCY`: passwords hashed at the same time.
    pub password_concurrency: u32,
    /// `ENCRYPTION_KEY`: 32 bytes, hexadecimal or base64.
    pub encryption_key: Option<Secret<String>>,
    /// `ENCRYPTION_KEYS`: a ring `id:key,id:key`; the first encrypts.
    pub encryption_keys: Option<Secret<String>>,
}

impl Section for Auth {
    const NAME: &'static str = "auth";
    const FIELDS: &'static [Field] = &[
        Field::new("jwt_secret", Kind::Secret, "One key for signing and checking tokens")
            .env(&["JWT_SECRET"])
            .check("a secret of 32 bytes or more, such as `openssl rand -base64 48` prints", check::long_secret)
            .restart_only(),
        Field::new("jwt_retired_secret", Kind::Secret, "The secret before, which still checks tokens")
            .env(&["JWT_RETIRED_SECRET"])
            .check("a secret of 32 bytes or more", check::long_secret)
            .restart_only(),
        Field::new("jwt_private_key", Kind::Secret, "PEM key for signing tokens")
            .env(&["JWT_PRIVATE_KEY"])
            .restart_only(),
        Field::new("jwt_public_key", Kind::Text, "PEM key for checking tokens")
            .env(&["JWT_PUBLIC_KEY"])
            .restart_only(),
        Field::new("jwt_retired_public_key", Kind::Text, "The PEM key before, which still checks tokens")
            .env(&["JWT_RETIRED_PUBLIC_KEY"])
            .restart_only(),
        Field::new("jwt_jwks_url", Kind::Text, "Where to fetch the keys for checking tokens")
            .env(&["JWT_JWKS_URL"])
            .check("a URL that starts with https:// or http://", check::http_url)
            .restart_only(),
        Field::new(
            "jwt_jwks_private",
            Kind::Bool,
            "Whether these keys may lie in a private network; in development they may anyway",
        )
        .env(&["JWT_JWKS_PRIVATE"])
        .default("false")
        .restart_only(),
        Field::new(
            "jwt_algorithm",
            Kind::Enum(ALGORITHMS),
            "Signature; unset means the one that fits the key",
        )
        .env(&["JWT_ALGORITHM"])
        .restart_only(),
        Field::new(
            "jwt_expires_in",
            Kind::Duration { min: Duration::from_secs(1) },
            "Life of an access token",
        )
        .env(&["JWT_EXPIRES_IN"])
        .default("1h"),
        Field::new("jwt_issuer", Kind::Text, "Who issues tokens").env(&["JWT_ISSUER"]).restart_only(),
        Field::new("jwt_audience", Kind::Text, "Whom tokens are for").env(&["JWT_AUDIENCE"]).restart_only(),
        Field::new("session_idle", Kind::Duration { min: Duration::from_secs(1) }, "A session that is not refreshed for so long is over")
            .env(&["SESSION_IDLE"])
            .default("14d")
            .restart_only(),
        Field::new("session_lifetime", Kind::Duration { min: Duration::from_secs(1) }, "A session is over after so long")
            .env(&["SESSION_LIFETIME"])
            .default("90d")
            .restart_only(),
        Field::new(
            "revocation_outage",
            Kind::Enum(&["allow", "refuse"]),
            "A token while the list of the revoked ones cannot be read: worth what it says until it expires, or nothing",
        )
        .env(&["REVOCATION_OUTAGE"])
        .default("allow")
        .restart_only(),
        Field::new(
            "password_memory",
            Kind::Integer { min: 8, max: 1_048_576 },
            "KiB that hashing one password takes",
        )
        .env(&["PASSWORD_MEMORY"])
        .default("19456")
        .restart_only(),
        Field::new("password_iterations", Kind::Integer { min: 1, max: 64 }, "Passes over that memory")
            .env(&["PASSWORD_ITERATIONS"])
            .default("2")
            .restart_only(),
        Field::new(
            "password_concurrency",
            Kind::Integer { min: 1, max: 1_024 },
            "Passwords hashed at the same time",
        )
        .env(&["PASSWORD_CONCURRENCY"])
        .default("2")
        .restart_only(),
        Field::new("encryption_key", Kind::Secret, "Key that encrypts stored data")
            .env(&["ENCRYPTION_KEY"])
            .check("32 bytes as 64 hexadecimal digits or in base64", check::key)
            .restart_only(),
        Field::new("encryption_keys", Kind::Secret, "Ring of keys; the first encrypts, all decrypt")
            .env(&["ENCRYPTION_KEYS"])
            .check("id:key,id:key with different ids and each key 32 bytes in hex or base64", check::key_ring)
            .restart_only(),
    ];

    fn validate(&self, checks: &mut Checks<'_>) {
        let pair = [
            ("jwt_private_key", self.jwt_private_key.is_some()),
            ("jwt_public_key", self.jwt_public_key.is_some()),
            ("jwt_retired_public_key", self.jwt_retired_public_key.is_some()),
            ("jwt_jwks_url", self.jwt_jwks_url.is_some()),
        ];
        for (name, _) in pair.into_iter().filter(|(_, set)| *set && self.jwt_secret.is_some()) {
            checks.refuse(&["jwt_secret", name], "cannot be combined with a key pair; set one of them");
        }
        if self.jwt_retired_secret.is_some() && self.jwt_secret.is_none() {
            checks.refuse(&["jwt_retired_secret"], "comes beside the secret that took its place");
        }
        let symmetric = |algorithm: JwtAlgorithm| {
            matches!(algorithm, JwtAlgorithm::HS256 | JwtAlgorithm::HS384 | JwtAlgorithm::HS512)
        };
        match self.jwt_algorithm {
            Some(algorithm) if self.jwt_secret.is_some() && !symmetric(algorithm) => {
                checks.refuse(&["jwt_algorithm"], "is not one that a secret can sign: HS256, HS384 or HS512");
            }
            Some(algorithm) if pair.iter().any(|(_, set)| *set) && symmetric(algorithm) => {
                checks.refuse(&["jwt_algorithm"], "is not one that a key pair can sign");
            }
            _ => {}
        }
        if self.session_idle > self.session_lifetime {
            checks
                .refuse(&["session_idle", "session_lifetime"], "must not be longer than the session's life");
        }
        if self.encryption_key.is_some() && self.encryption_keys.is_some() {
            checks.refuse(
                &["encryption_key", "encryption_keys"],
                "cannot be combined with a ring; set one of them",
            );
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        defaults()
    }
}
