//! The keys of the tests, as `openssl genpkey` wrote them, and signatures by them that owe nothing to the code under
//! test.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mainstay_auth::token::Key;
use mainstay_core::config::JwtAlgorithm;
use mainstay_core::secret::Secret;
use ring::rand::SystemRandom;
use ring::{hmac, signature};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(crate) const ALGORITHMS: [JwtAlgorithm; 12] = [
    JwtAlgorithm::HS256,
    JwtAlgorithm::HS384,
    JwtAlgorithm::HS512,
    JwtAlgorithm::RS256,
    JwtAlgorithm::RS384,
    JwtAlgorithm::RS512,
    JwtAlgorithm::PS256,
    JwtAlgorithm::PS384,
    JwtAlgorithm::PS512,
    JwtAlgorithm::ES256,
    JwtAlgorithm::ES384,
    JwtAlgorithm::EdDSA,
];

macro_rules! pem {
    ($name:literal) => {
        (include_str!(concat!("keys/", $name, ".pem")), include_str!(concat!("keys/", $name, ".pub.pem")))
    };
}
pub(crate) const RSA: (&str, &str) = pem!("rsa");
pub(crate) const RSA_1024: (&str, &str) = pem!("rsa1024");
pub(crate) const P256: (&str, &str) = pem!("p256");
pub(crate) const P384: (&str, &str) = pem!("p384");
pub(crate) const P521: (&str, &str) = pem!("p521");
pub(crate) const ED25519: (&str, &str) = pem!("ed25519");

pub(crate) fn name(algorithm: JwtAlgorithm) -> String {
    format!("{algorithm:?}")
}

/// The private and the public key that an algorithm signs with; none for those that share a secret.
pub(crate) fn pair(algorithm: JwtAlgorithm) -> Option<(&'static str, &'static str)> {
    match name(algorithm).as_bytes() {
        [b'H', ..] => None,
        [b'R' | b'P', ..] => Some(RSA),
        b"ES256" => Some(P256),
        b"ES384" => Some(P384),
        _ => Some(ED25519),
    }
}

pub(crate) fn secret(algorithm: JwtAlgorithm) -> Key {
    Key::secret(algorithm, &Secret::from(SECRET)).unwrap()
}

/// The key that signs by this algorithm.
pub(crate) fn key(algorithm: JwtAlgorithm) -> Key {
    match pair(algorithm) {
        None => secret(algorithm),
        Some((private, _)) => Key::private_pem(Some(algorithm), &Secret::from(private)).unwrap(),
    }
}

/// The key that only checks; a secret does both.
pub(crate) fn public(algorithm: JwtAlgorithm) -> Key {
    match pair(algorithm) {
        None => secret(algorithm),
        Some((_, public)) => Key::public_pem(Some(algorithm), public).unwrap(),
    }
}

/// Signs a message.
pub(crate) type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(body).unwrap()
}

/// Signs; made once for each algorithm, since reading an RSA key takes longer than signing with it.
pub(crate) fn signer(algorithm: JwtAlgorithm) -> Sign {
    let private = pair(algorithm).map(|(private, _)| der(private)).unwrap_or_default();
    let random = SystemRandom::new();
    let rsa = |padding: &'static dyn signature::RsaEncoding| -> Sign {
        let pair = signature::RsaKeyPair::from_pkcs8(&private).unwrap();
        Box::new(move |message| {
            let mut signed = vec![0; pair.public().modulus_len()];
            pair.sign(padding, &SystemRandom::new(), message, &mut signed).unwrap();
            signed
        })
    };
    let ec = |curve: &'static signature::EcdsaSigningAlgorithm| -> Sign {
        let pair = signature::EcdsaKeyPair::from_pkcs8(curve, &private, &random).unwrap();
        Box::new(move |message| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
    };
    match name(algorithm).as_str() {
        "HS256" => Box::new(|message| mac(hmac::HMAC_SHA256, SECRET.as_bytes(), message)),
        "HS384" => Box::new(|message| mac(hmac::HMAC_SHA384, SECRET.as_bytes(), message)),
        "HS512" => Box::new(|message| mac(hmac::HMAC_SHA512, SECRET.as_bytes(), message)),
        "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
        "RS384" => rsa(&signature::RSA_PKCS1_SHA384),
        "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
        "PS256" => rsa(&signature::RSA_PSS_SHA256),
        "PS384" => rsa(&signature::RSA_PSS_SHA384),
        "PS512" => rsa(&signature::RSA_PSS_SHA512),
        "ES256" => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        "ES384" => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        _ => {
            let pair = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private).unwrap();
            Box::new(move |message| pair.sign(message).as_ref().to_vec())
        }
    }
}

pub(crate) fn mac(hash: hmac::Algorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
