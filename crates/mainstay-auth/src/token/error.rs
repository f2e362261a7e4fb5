//! What can go wrong.

use std::time::Duration;

/// Why a token was not accepted or not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The token is no good. The text does not say why: that would help who is guessing.
    #[error("the token is not valid")]
    Invalid {
        /// For the log and the metrics; never for the caller.
        reason: Reason,
    },
    /// The keys that could tell are not known, and cannot be fetched at the moment.
    #[error("the keys that check tokens are not available")]
    Unavailable,
    /// A token of these claims would not be accepted.
    #[error("{field} {reason}")]
    Claims {
        /// The field of [`NewClaims`](super::NewClaims).
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The operating system has no randomness to sign with.
    #[error("the token cannot be signed")]
    Signing,
}

impl Error {
    pub(super) const fn invalid(reason: Reason) -> Self {
        Self::Invalid { reason }
    }
}

/// What was wrong with a token: a word of a closed list, safe as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Longer than 8 KiB.
    TooLong,
    /// Not three parts in base64url, or not JSON objects in them.
    Malformed,
    /// A header or a claim stands there twice.
    Duplicate,
    /// A header that brings or names keys, or that must be understood and is not; or a wrong `typ`.
    Header,
    /// Another algorithm than the key's; `none` too.
    Algorithm,
    /// No key of this id.
    UnknownKey,
    /// Not signed by the key.
    Signature,
    /// A required claim is missing.
    Missing,
    /// A claim has the wrong type, or is out of bounds.
    Claim,
    /// By somebody else.
    Issuer,
    /// For somebody else.
    Audience,
    /// No longer valid.
    Expired,
    /// Not valid yet.
    Early,
    /// Valid for longer than a token may be.
    Lifetime,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::TooLong,
        Self::Malformed,
        Self::Duplicate,
        Self::Header,
        Self::Algorithm,
        Self::UnknownKey,
        Self::Signature,
        Self::Missing,
        Self::Claim,
        Self::Issuer,
        Self::Audience,
        Self::Expired,
        Self::Early,
        Self::Lifetime,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Duplicate => "duplicate",
            Self::Header => "header",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Missing => "missing",
            Self::Claim => "claim",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::Early => "early",
            Self::Lifetime => "lifetime",
        }
    }
}

/// Why there is no such key, ring, issuer or verifier: something in the configuration is wrong. Never quotes a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Too short to be safe.
    #[error("{algorithm} wants a key of {least} bytes or more, this one has {bytes}")]
    Weak {
        /// The algorithm.
        algorithm: &'static str,
        /// Its shortest key, in bytes.
        least: usize,
        /// The length of this one, in bytes.
        bytes: usize,
    },
    /// The algorithm does not fit the key.
    #[error("{algorithm} does not sign with {kind}")]
    Algorithm {
        /// The algorithm.
        algorithm: &'static str,
        /// What the key is.
        kind: &'static str,
    },
    /// Not the PEM block that was asked for.
    #[error("expected a block \"-----BEGIN {expected}-----\", found {found}; `openssl pkey` converts keys")]
    Pem {
        /// The label that was asked for.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The block holds no key that can be read.
    #[error("the block is not a key that can be used: damaged, or of a form `openssl pkey` did not write")]
    Form,
    /// Neither RSA, P-256, P-384 nor Ed25519.
    #[error("a key of this kind signs no tokens: use Ed25519, P-256, P-384 or RSA")]
    Kind,
    /// An id that cannot be one.
    #[error("the id of a key is 1 to 256 visible ASCII characters")]
    Id,
    /// A public key where one must sign.
    #[error("a public key cannot sign")]
    Public,
    /// Two keys of one id.
    #[error("two keys have the id {id}")]
    Twice {
        /// It.
        id: String,
    },
    /// More keys than a ring holds.
    #[error("a ring holds at most {most} keys")]
    TooMany {
        /// So many.
        most: usize,
    },
    /// An option that cannot be met.
    #[error("{field} {reason}")]
    Option {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The longest leeway.
pub(super) const MAX_LEEWAY: Duration = Duration::from_secs(60);
