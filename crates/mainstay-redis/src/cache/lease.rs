//! A lease as the server keeps it: `L`, or `K` if it is kept from everybody; the holder; the tags with their epochs.

use bytes::{Buf, Bytes};

use mainstay_core::cache::{Tag, Token};

use super::envelope;

const DIGITS: usize = 32;

/// What a lease's bytes begin with while this token holds it.
pub(super) fn holder(token: Token) -> String {
    format!("L{token}")
}

/// The bytes of a lease.
pub(super) fn taken(token: Token, tags: &[Tag]) -> Vec<u8> {
    let mut bytes = holder(token).into_bytes();
    envelope::put_tags(&mut bytes, tags);
    bytes
}

/// Whose it is and what breaks it; `None` for bytes that are no lease.
pub(super) fn read(mut bytes: Bytes) -> Option<(Option<Token>, Vec<Tag>)> {
    let held = bytes.try_get_u8().ok()? == b'L';
    if bytes.len() < DIGITS {
        return None;
    }
    let token = std::str::from_utf8(&bytes.split_to(DIGITS)).ok()?.parse::<Token>().ok()?;
    Some((held.then_some(token), envelope::take_tags(&mut bytes)?))
}
