use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ring::hmac;
use zeroize::Zeroizing;

use super::xaes::{KEY, Xaes};

/// Longest id of a key, in bytes.
pub const MAX_ID: usize = 128;

/// Bytes of a blind index: few enough to keep in an index, too many to meet by chance.
const INDEX: usize = 16;

/// A key of the ring: the bytes that were configured, and what they are used for.
pub(super) struct Key {
    pub(super) id: String,
    bytes: Zeroizing<[u8; KEY]>,
    /// Nothing is encrypted with the configured bytes themselves, so that each use has a key of its own.
    pub(super) xaes: Xaes,
    index: Zeroizing<[u8; KEY]>,
}

impl Key {
    pub(super) fn new(id: &str, bytes: Zeroizing<[u8; KEY]>) -> Self {
        let xaes = Xaes::new(&derive(&bytes, b"mainstay seal 1 encrypt"));
        let index = derive(&bytes, b"mainstay seal 1 blind index");
        Self { id: id.to_owned(), bytes, xaes, index }
    }

    pub(super) fn bytes(&self) -> &[u8; KEY] {
        &self.bytes
    }

    pub(super) fn blind_index(&self, purpose: &str, plain: &[u8]) -> String {
        let key = derive(&self.index, purpose.as_bytes());
        URL_SAFE_NO_PAD.encode(&derive(&key, plain)[..INDEX])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// HMAC-SHA-256, a PRF: the values for different inputs tell nothing of each other or of the key.
fn derive(key: &[u8; KEY], input: &[u8]) -> Zeroizing<[u8; KEY]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), input);
    Zeroizing::new(tag.as_ref().try_into().expect("SHA-256 makes 32 bytes"))
}

/// 32 bytes from 64 hexadecimal digits, or from base64 of either alphabet, padded or not.
pub(super) fn parse(text: &str) -> Option<Zeroizing<[u8; KEY]>> {
    let mut key = Zeroizing::new([0; KEY]);
    if text.len() == 2 * KEY {
        key.copy_from_slice(&from_hex(text)?);
        return Some(key);
    }
    let text = text.strip_suffix('=').unwrap_or(text);
    // The decoder wants room for whole groups of four, which is 33 bytes for these 43 letters.
    let mut room = Zeroizing::new([0; KEY + 1]);
    let engine = if text.contains(['-', '_']) { URL_SAFE_NO_PAD } else { STANDARD_NO_PAD };
    let length = engine.decode_slice(text, &mut *room).ok()?;
    if length != KEY {
        return None;
    }
    key.copy_from_slice(&room[..KEY]);
    Some(key)
}

pub(super) fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |at: u8| char::from(at).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    Some(bytes)
}

pub(super) fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(plain)
}
