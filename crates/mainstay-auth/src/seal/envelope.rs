//! `version 1 | algorithm 1 | length of id 1 | id | nonce 24 | commitment 32 | ciphertext | tag 16`

use super::key::is_id;
use super::xaes::{COMMITMENT, NONCE, TAG};

/// This layout.
const VERSION: u8 = 1;
/// XAES-256-GCM with a commitment to the key.
const XAES_256_GCM: u8 = 1;

/// How much longer a sealed value is than the value, without the id of its key.
pub const OVERHEAD: usize = 3 + NONCE + COMMITMENT + TAG;

/// What comes before the nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header<'a> {
    /// At most 128 bytes.
    pub(super) id: &'a str,
}

impl Header<'_> {
    pub(super) fn len(&self) -> usize {
        3 + self.id.len()
    }

    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let length = u8::try_from(self.id.len()).expect("an id has at most 128 bytes");
        to.extend_from_slice(&[VERSION, XAES_256_GCM, length]);
        to.extend_from_slice(self.id.as_bytes());
    }
}

/// A sealed value, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) header: Header<'a>,
    pub(super) nonce: &'a [u8; NONCE],
    pub(super) commitment: &'a [u8; COMMITMENT],
    /// Ciphertext and tag.
    pub(super) body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// `None` for whatever was not sealed in this layout.
    pub(super) fn parse(sealed: &'a [u8]) -> Option<Self> {
        let (&[VERSION, XAES_256_GCM, length], rest) = sealed.split_first_chunk()? else { return None };
        let (id, rest) = rest.split_at_checked(length.into())?;
        let id = str::from_utf8(id).ok().filter(|id| is_id(id))?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (commitment, body) = rest.split_first_chunk()?;
        (body.len() >= TAG).then_some(Self { header: Header { id }, nonce, commitment, body })
    }
}
