//! A key, pinned to one algorithm.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use mainstay_core::config::JwtAlgorithm;
use mainstay_core::secret::Secret;
use ring::rand::SystemRandom;
use ring::signature::{
    ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, RsaPublicKeyComponents, UnparsedPublicKey,
};
use ring::{digest, hmac};

use super::KeyError;
use super::der::{self, Kind, PublicKey};
use super::scheme::{self, Curve, Scheme, scheme};

/// Longest id of a key, in bytes.
pub(super) const MAX_ID: usize = 256;

/// A key and the one algorithm it is used with. Cheap to clone; `Debug` shows its id and algorithm only.
///
/// ```
/// use mainstay_auth::token::Key;
/// use mainstay_core::config::JwtAlgorithm::HS256;
/// use mainstay_core::secret::Secret;
///
/// let secret = Secret::from("a secret of thirty-two bytes or more");
/// assert!(Key::secret(HS256, &secret).is_ok());
/// assert!(Key::secret(HS256, &Secret::from("too short")).is_err());
/// ```
#[derive(Clone)]
pub struct Key {
    id: Arc<str>,
    algorithm: JwtAlgorithm,
    material: Arc<Material>,
}

struct Material {
    public: Public,
    private: Option<Private>,
}

/// What checks a signature.
pub(super) enum Public {
    Hmac(hmac::Key),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The uncompressed point.
    Ec {
        curve: &'static Curve,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
}

/// What makes one, where that is something else.
pub(super) enum Private {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    /// A secret for one of `HS256`, `HS384`, `HS512`: it signs and checks. It must be at least as long as the hash
    /// (RFC 7518, section 3.2): 32, 48 or 64 bytes.
    ///
    /// Its id is made from it, the same in every process; nothing but a guess of the whole secret finds it from
    /// that, as from any token it signed.
    ///
    /// # Errors
    /// [`KeyError::Weak`] if it is shorter, [`KeyError::Algorithm`] if the algorithm wants a key pair.
    pub fn secret(algorithm: JwtAlgorithm, secret: &Secret<String>) -> Result<Self, KeyError> {
        let Some(Scheme::Hmac { algorithm: hash, least }) = scheme(algorithm) else {
            return Err(KeyError::Algorithm { algorithm: scheme::name(algorithm), kind: "a secret" });
        };
        let secret = secret.expose().as_bytes();
        if secret.len() < least {
            return Err(KeyError::Weak { algorithm: scheme::name(algorithm), least, bytes: secret.len() });
        }
        let key = hmac::Key::new(hash, secret);
        let id = BASE64URL.encode(&hmac::sign(&key, b"id of this key").as_ref()[..16]);
        Ok(Self::of(algorithm, &id, Public::Hmac(key), None))
    }

    /// A secret for `HS256` that is made now and known to this process alone: what it signs is worth nothing elsewhere
    /// and after its end.
    #[must_use]
    pub fn random() -> Self {
        let secret = Secret::new(BASE64URL.encode(rand::random::<[u8; 48]>()));
        Self::secret(JwtAlgorithm::HS256, &secret).expect("it is long enough")
    }

    /// A private key, PKCS#8 in PEM (`-----BEGIN PRIVATE KEY-----`): it signs and checks. Without an algorithm it
    /// is pinned to the one that fits it: `EdDSA`, `ES256`, `ES384`, and `RS256` for RSA. The id is its thumbprint.
    ///
    /// # Errors
    /// [`KeyError`]: not such a file, a kind of key without an algorithm, RSA of less than 2,048 bits, or an algorithm
    /// that does not fit.
    pub fn private_pem(algorithm: Option<JwtAlgorithm>, pem: &Secret<String>) -> Result<Self, KeyError> {
        let der = der::pem(pem.expose(), "PRIVATE KEY")?;
        let refused = |_| KeyError::Form;
        let (public, private) = match der::private_kind(&der)? {
            Kind::Rsa => {
                let pair = RsaKeyPair::from_pkcs8(&der).map_err(refused)?;
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                (Public::Rsa { n, e }, Private::Rsa(Box::new(pair)))
            }
            Kind::Ec(curve) => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(curve.sign, &der, &SystemRandom::new()).map_err(refused)?;
                (Public::Ec { curve, point: pair.public_key().as_ref().to_vec() }, Private::Ec(pair))
            }
            Kind::Ed25519 => {
                // The first version of PKCS#8, which openssl writes, has no public key to compare with.
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(refused)?;
                (Public::Ed25519(pair.public_key().as_ref().to_vec()), Private::Ed25519(pair))
            }
        };
        Self::pinned(algorithm, public, Some(private))
    }

    /// A public key, SPKI in PEM (`-----BEGIN PUBLIC KEY-----`): it only checks. Algorithm and id as of
    /// [`private_pem`](Self::private_pem).
    ///
    /// # Errors
    /// As [`private_pem`](Self::private_pem).
    pub fn public_pem(algorithm: Option<JwtAlgorithm>, pem: &str) -> Result<Self, KeyError> {
        let der = der::pem(pem, "PUBLIC KEY")?;
        let public = match der::public_key(&der)? {
            PublicKey::Rsa { n, e } => Public::Rsa { n, e },
            PublicKey::Ec { curve, point } => Public::Ec { curve, point },
            PublicKey::Ed25519(key) => Public::Ed25519(key),
        };
        Self::pinned(algorithm, public, None)
    }

    /// The same key under another id, the `kid` of its tokens: 1 to 256 visible ASCII characters.
    ///
    /// # Errors
    /// [`KeyError::Id`] for any other.
    pub fn with_id(self, id: &str) -> Result<Self, KeyError> {
        if !is_id(id) {
            return Err(KeyError::Id);
        }
        Ok(Self { id: id.into(), ..self })
    }

    /// The id: the `kid` of its tokens.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The algorithm it is pinned to.
    #[must_use]
    pub fn algorithm(&self) -> JwtAlgorithm {
        self.algorithm
    }

    /// Whether it can sign.
    #[must_use]
    pub fn signs(&self) -> bool {
        self.material.private.is_some() || matches!(self.material.public, Public::Hmac(_))
    }

    /// A key whose parts were read, with the algorithm that fits or the given one if it does.
    pub(super) fn pinned(
        algorithm: Option<JwtAlgorithm>,
        public: Public,
        private: Option<Private>,
    ) -> Result<Self, KeyError> {
        let (fitting, kind) = match &public {
            Public::Hmac(_) => (JwtAlgorithm::HS256, "a secret"),
            Public::Rsa { .. } => (JwtAlgorithm::RS256, "an RSA key"),
            Public::Ec { curve, .. } if curve.size == scheme::P256.size => {
                (JwtAlgorithm::ES256, "a P-256 key")
            }
            Public::Ec { .. } => (JwtAlgorithm::ES384, "a P-384 key"),
            Public::Ed25519(_) => (JwtAlgorithm::EdDSA, "an Ed25519 key"),
        };
        let algorithm = algorithm.unwrap_or(fitting);
        let fits = match (scheme(algorithm), &public) {
            (Some(Scheme::Rsa { .. }), Public::Rsa { .. }) => true,
            _ => algorithm == fitting,
        };
        if !fits {
            return Err(KeyError::Algorithm { algorithm: scheme::name(algorithm), kind });
        }
        check(algorithm, &public)?;
        let id = BASE64URL.encode(digest::digest(&digest::SHA256, public.canonical().as_bytes()));
        Ok(Self::of(algorithm, &id, public, private))
    }

    fn of(algorithm: JwtAlgorithm, id: &str, public: Public, private: Option<Private>) -> Self {
        Self { id: id.into(), algorithm, material: Arc::new(Material { public, private }) }
    }

    pub(super) fn public(&self) -> &Public {
        &self.material.public
    }

    /// The signature of a message; `None` if this key only checks, or the operating system has no randomness.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        if let Public::Hmac(key) = &self.material.public {
            return Some(hmac::sign(key, message).as_ref().to_vec());
        }
        let random = SystemRandom::new();
        match (self.material.private.as_ref()?, scheme(self.algorithm)?) {
            (Private::Rsa(pair), Scheme::Rsa { sign, .. }) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(sign, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            (Private::Ec(pair), _) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            (Private::Ed25519(pair), _) => Some(pair.sign(message).as_ref().to_vec()),
            (Private::Rsa(_), _) => None,
        }
    }

    /// Whether this is the signature of the message, by this key's algorithm and no other.
    pub(super) fn checks(&self, message: &[u8], signature: &[u8]) -> bool {
        match (&self.material.public, scheme(self.algorithm)) {
            (Public::Hmac(key), _) => hmac::verify(key, message, signature).is_ok(),
            (Public::Rsa { n, e }, Some(Scheme::Rsa { check, .. })) => {
                RsaPublicKeyComponents { n, e }.verify(check, message, signature).is_ok()
            }
            (Public::Ec { curve, point }, _) => {
                UnparsedPublicKey::new(curve.check, point).verify(message, signature).is_ok()
            }
            (Public::Ed25519(key), _) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
            }
            (Public::Rsa { .. }, _) => false,
        }
    }
}

/// What can be told of a public key without a signature.
fn check(algorithm: JwtAlgorithm, public: &Public) -> Result<(), KeyError> {
    match public {
        Public::Rsa { n, e } => {
            let [first, ..] = n.as_slice() else { return Err(KeyError::Form) };
            let bits = n.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0);
            let odd = e.last().is_some_and(|last| last % 2 == 1) && e.as_slice() != [1];
            match bits {
                0..2048 => {
                    Err(KeyError::Weak { algorithm: scheme::name(algorithm), least: 256, bytes: n.len() })
                }
                2048..=8192 if odd && *first != 0 => Ok(()),
                _ => Err(KeyError::Form),
            }
        }
        Public::Ec { curve, point } if point.len() != 1 + 2 * curve.size || point[0] != 4 => {
            Err(KeyError::Form)
        }
        Public::Ed25519(key) if key.len() != 32 => Err(KeyError::Form),
        Public::Ec { .. } | Public::Ed25519(_) | Public::Hmac(_) => Ok(()),
    }
}

impl Public {
    /// The members of the JWK that make the key, as RFC 7638 wants them: in the order of their names, without spaces.
    /// A secret has none that may be shown.
    pub(super) fn canonical(&self) -> String {
        let text = |bytes: &[u8]| BASE64URL.encode(bytes);
        match self {
            Self::Hmac(_) => String::new(),
            Self::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n)),
            Self::Ec { curve, point } => {
                let (x, y) = point[1..].split_at(curve.size);
                format!(r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#, curve.name, text(x), text(y))
            }
            Self::Ed25519(key) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(key)),
        }
    }
}

pub(super) fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = scheme::name(self.algorithm);
        f.debug_struct("Key").field("id", &self.id).field("algorithm", &name).finish_non_exhaustive()
    }
}
