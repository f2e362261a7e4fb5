//! As much of PEM and DER as a key file needs (RFC 7468, RFC 5280 section 4.1.2.7, RFC 5958).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::KeyError;
use super::scheme::{Curve, P256, P384};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const EC_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const EC_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// What kind of key a file holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Rsa,
    Ec(&'static Curve),
    Ed25519,
}

/// A public key as its file has it.
pub(super) enum PublicKey {
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

/// The bytes of the one block of this label. A file read from an environment variable may have its line breaks
/// written as `\n`.
pub(super) fn pem(text: &str, label: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let wrong = |found: &str| KeyError::Pem { expected: label, found: found.chars().take(40).collect() };
    let begin = text.find("-----BEGIN ").ok_or_else(|| wrong("no PEM block"))? + "-----BEGIN ".len();
    let (found, rest) = text[begin..].split_once("-----").ok_or_else(|| wrong("half a PEM block"))?;
    if found != label {
        return Err(wrong(found));
    }
    let (body, _) = rest.split_once("-----END ").ok_or_else(|| wrong("a PEM block without an end"))?;
    let body = Zeroizing::new(body.replace("\\n", ""));
    let body: Zeroizing<String> = Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    STANDARD.decode(&*body).map(Zeroizing::new).map_err(|_| wrong("a PEM block that is not base64"))
}

/// The kind of key in a PKCS#8 document.
pub(super) fn private_kind(der: &[u8]) -> Result<Kind, KeyError> {
    let mut document = Reader(der).take(SEQUENCE).ok_or(KeyError::Form)?;
    document.take(INTEGER).ok_or(KeyError::Form)?;
    document.take(SEQUENCE).ok_or(KeyError::Form).and_then(kind)
}

/// The key in a SubjectPublicKeyInfo document.
pub(super) fn public_key(der: &[u8]) -> Result<PublicKey, KeyError> {
    let mut whole = Reader(der);
    let mut document = whole.take(SEQUENCE).ok_or(KeyError::Form)?;
    let kind = document.take(SEQUENCE).ok_or(KeyError::Form).and_then(kind)?;
    let bits = document.take(BIT_STRING).ok_or(KeyError::Form)?;
    let [0, key @ ..] = bits.0 else { return Err(KeyError::Form) };
    if !document.0.is_empty() || !whole.0.is_empty() {
        return Err(KeyError::Form);
    }
    Ok(match kind {
        Kind::Rsa => {
            let mut pair = Reader(key).take(SEQUENCE).ok_or(KeyError::Form)?;
            let n = pair.unsigned().ok_or(KeyError::Form)?;
            let e = pair.unsigned().ok_or(KeyError::Form)?;
            PublicKey::Rsa { n: n.to_vec(), e: e.to_vec() }
        }
        Kind::Ec(curve) => PublicKey::Ec { curve, point: key.to_vec() },
        Kind::Ed25519 => PublicKey::Ed25519(key.to_vec()),
    })
}

fn kind(mut algorithm: Reader<'_>) -> Result<Kind, KeyError> {
    match algorithm.take(OID).ok_or(KeyError::Form)?.0 {
        RSA => Ok(Kind::Rsa),
        ED25519 => Ok(Kind::Ed25519),
        EC => match algorithm.take(OID).ok_or(KeyError::Form)?.0 {
            EC_P256 => Ok(Kind::Ec(&P256)),
            EC_P384 => Ok(Kind::Ec(&P384)),
            _ => Err(KeyError::Kind),
        },
        _ => Err(KeyError::Kind),
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next value, if it has this tag. Lengths below 64 KiB only: no key is longer.
    fn take(&mut self, tag: u8) -> Option<Self> {
        let (length, rest) = match *self.0 {
            [found, length, ref rest @ ..] if found == tag && length < 0x80 => (usize::from(length), rest),
            [found, 0x81, length, ref rest @ ..] if found == tag && length >= 0x80 => {
                (usize::from(length), rest)
            }
            [found, 0x82, high, low, ref rest @ ..] if found == tag && high > 0 => {
                (usize::from(u16::from_be_bytes([high, low])), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Self(content))
    }

    /// The next integer, without the zero that keeps it from being negative.
    fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.take(INTEGER)?.0 {
            [0, number @ ..] => Some(number),
            number @ [first, ..] if *first < 0x80 => Some(number),
            _ => None,
        }
    }
}
