//! What each algorithm is made of.

use mainstay_core::config::JwtAlgorithm;
use ring::{hmac, signature};

/// How an algorithm signs and checks.
#[derive(Clone, Copy)]
pub(super) enum Scheme {
    Hmac { algorithm: hmac::Algorithm, least: usize },
    Rsa { sign: &'static dyn signature::RsaEncoding, check: &'static signature::RsaParameters },
    Ecdsa,
    Ed25519,
}

/// One of the curves of RFC 7518, section 3.4.
pub(super) struct Curve {
    /// Its name in a JWK.
    pub(super) name: &'static str,
    /// Bytes of a coordinate.
    pub(super) size: usize,
    pub(super) sign: &'static signature::EcdsaSigningAlgorithm,
    pub(super) check: &'static signature::EcdsaVerificationAlgorithm,
}

pub(super) static P256: Curve = Curve {
    name: "P-256",
    size: 32,
    sign: &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
    check: &signature::ECDSA_P256_SHA256_FIXED,
};

pub(super) static P384: Curve = Curve {
    name: "P-384",
    size: 48,
    sign: &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
    check: &signature::ECDSA_P384_SHA384_FIXED,
};

/// `None` for an algorithm that came into the configuration after this table.
pub(super) const fn scheme(algorithm: JwtAlgorithm) -> Option<Scheme> {
    use JwtAlgorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
    use signature as s;
    Some(match algorithm {
        HS256 => Scheme::Hmac { algorithm: hmac::HMAC_SHA256, least: 32 },
        HS384 => Scheme::Hmac { algorithm: hmac::HMAC_SHA384, least: 48 },
        HS512 => Scheme::Hmac { algorithm: hmac::HMAC_SHA512, least: 64 },
        RS256 => Scheme::Rsa { sign: &s::RSA_PKCS1_SHA256, check: &s::RSA_PKCS1_2048_8192_SHA256 },
        RS384 => Scheme::Rsa { sign: &s::RSA_PKCS1_SHA384, check: &s::RSA_PKCS1_2048_8192_SHA384 },
        RS512 => Scheme::Rsa { sign: &s::RSA_PKCS1_SHA512, check: &s::RSA_PKCS1_2048_8192_SHA512 },
        PS256 => Scheme::Rsa { sign: &s::RSA_PSS_SHA256, check: &s::RSA_PSS_2048_8192_SHA256 },
        PS384 => Scheme::Rsa { sign: &s::RSA_PSS_SHA384, check: &s::RSA_PSS_2048_8192_SHA384 },
        PS512 => Scheme::Rsa { sign: &s::RSA_PSS_SHA512, check: &s::RSA_PSS_2048_8192_SHA512 },
        ES256 => Scheme::Ecdsa,
        ES384 => Scheme::Ecdsa,
        EdDSA => Scheme::Ed25519,
        _ => return None,
    })
}

/// The name that a header and a JWK say (RFC 7518, section 3.1).
pub(super) const fn name(algorithm: JwtAlgorithm) -> &'static str {
    match algorithm {
        JwtAlgorithm::HS256 => "HS256",
        JwtAlgorithm::HS384 => "HS384",
        JwtAlgorithm::HS512 => "HS512",
        JwtAlgorithm::RS256 => "RS256",
        JwtAlgorithm::RS384 => "RS384",
        JwtAlgorithm::RS512 => "RS512",
        JwtAlgorithm::PS256 => "PS256",
        JwtAlgorithm::PS384 => "PS384",
        JwtAlgorithm::PS512 => "PS512",
        JwtAlgorithm::ES256 => "ES256",
        JwtAlgorithm::ES384 => "ES384",
        JwtAlgorithm::EdDSA => "EdDSA",
        _ => "",
    }
}

/// The algorithm of a name, if a key pair signs with it.
pub(super) fn asymmetric(text: &str) -> Option<JwtAlgorithm> {
    use JwtAlgorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA].into_iter().find(|one| name(*one) == text)
}
