//! A value as bytes on the server, such that nothing that is not this very value is ever taken for it.
//!
//! | bytes | what |
//! | --- | --- |
//! | 16 | until when it is fresh: microseconds of the server's calendar, as digits. Written by the script |
//! | 3 | `MS` and the format, 1 |
//! | 1 | codec: 0 JSON, 1 MessagePack |
//! | 1 | flags: 1 there is no value, 2 the payload is compressed |
//! | 4 | schema, as all numbers that follow in little endian |
//! | 8, 8, 8 | microseconds: that it took to load, that it is fresh, that it is stale after that |
//! | 4 | length of the payload before it was compressed |
//! | 2 + n | key |
//! | 1, of each 2 + n + 8 | tags: name and epoch |
//! | n | payload, in the block format of LZ4 if compressed |
//! | 4 | CRC-32 (ISO-HDLC) of all but the digits |

use std::time::Duration;

use bytes::{Buf, Bytes};

use mainstay_core::cache::{Entry, Options, Tag, Value};
use mainstay_core::codec::Codec;
use mainstay_core::time::micros;

/// Digits of the moment until which a value is fresh.
pub(super) const DIGITS: usize = 16;
/// The digits and the longest that stands before a payload: key and eight tags of 2,048 bytes each.
pub(super) const MAX_HEAD: usize = DIGITS + 40 + 2_050 + 8 * 2_058;

const MAGIC: &[u8; 3] = b"MS\x01";
const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];
const ABSENT: u8 = 1;
const COMPRESSED: u8 = 2;
const CHECKSUM: usize = 4;

/// Why bytes are not the value that is asked for. None is an error: all are misses, and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    /// Of another format, older or newer.
    Format,
    /// Damaged.
    Checksum,
    /// Of another key: an answer to another question.
    Key,
    /// Of another release's shape.
    Schema,
    /// Longer than values may be here.
    Size,
}

impl Rejected {
    pub(super) const ALL: [Self; 5] = [Self::Format, Self::Checksum, Self::Key, Self::Schema, Self::Size];

    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Checksum => "checksum",
            Self::Key => "key",
            Self::Schema => "schema",
            Self::Size => "size",
        }
    }
}

/// What stands before the payload.
#[derive(Debug)]
pub(super) struct Head {
    /// Microseconds of the server's calendar.
    pub(super) fresh_until: u64,
    /// At most this long, whatever the calendar shows.
    pub(super) fresh_for: Duration,
    pub(super) stale_for: Duration,
    /// With epochs.
    pub(super) tags: Vec<Tag>,
    key: Bytes,
    codec: Codec,
    flags: u8,
    schema: u32,
    cost: Duration,
    length: usize,
}

impl Head {
    pub(super) const fn is_absent(&self) -> bool {
        self.flags & ABSENT != 0
    }
}

/// The bytes of an entry, without the digits. Every tag has an epoch.
pub(super) fn seal(key: &str, entry: &Entry, tags: &[Tag], options: &Options) -> Vec<u8> {
    let value = &*entry.value;
    let raw = value.bytes();
    let packed = compressed(raw, options.compress_above);
    let payload = packed.as_deref().unwrap_or(raw);
    let codec = CODECS.iter().position(|codec| *codec == value.codec()).unwrap_or(usize::from(u8::MAX));
    let flags = if value.is_absent() { ABSENT } else { 0 } | if packed.is_some() { COMPRESSED } else { 0 };
    let mut bytes = Vec::with_capacity(64 + key.len() + 32 * tags.len() + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend([narrow::<u8>(codec), flags]);
    bytes.extend_from_slice(&options.schema.to_le_bytes());
    for time in [value.cost(), entry.fresh_for, entry.stale_for] {
        bytes.extend_from_slice(&micros(time).to_le_bytes());
    }
    bytes.extend_from_slice(&narrow::<u32>(raw.len()).to_le_bytes());
    put_text(&mut bytes, key);
    put_tags(&mut bytes, tags);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// The value of a key, in bytes as the server has them.
pub(super) fn open(bytes: &Bytes, key: &str, options: &Options) -> Result<(Head, Value), Rejected> {
    let sealed = bytes.get(DIGITS..).unwrap_or_default();
    if !sealed.starts_with(MAGIC) {
        return Err(Rejected::Format);
    }
    let (content, checksum) = sealed.split_last_chunk::<CHECKSUM>().ok_or(Rejected::Checksum)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(Rejected::Checksum);
    }
    let mut rest = bytes.slice(..bytes.len() - CHECKSUM);
    let head = head(&mut rest).ok_or(Rejected::Format)?;
    if head.key != key.as_bytes() {
        return Err(Rejected::Key);
    }
    if head.schema != options.schema {
        return Err(Rejected::Schema);
    }
    if head.length > options.max_value_bytes {
        return Err(Rejected::Size);
    }
    let value = if head.is_absent() {
        Value::absent(head.cost)
    } else {
        Value::new(payload(&head, rest)?, head.codec, head.cost)
    };
    Ok((head, value))
}

/// The head of bytes that begin like a value, unchecked.
pub(super) fn peek(bytes: &Bytes) -> Option<Head> {
    head(&mut bytes.clone())
}

/// What a script recognizes a value by that is no use.
pub(super) fn mark(bytes: &[u8]) -> Vec<u8> {
    let (begin, end) = (bytes.len().min(DIGITS), bytes.len().saturating_sub(CHECKSUM));
    [&bytes[..begin], &bytes[end..]].concat()
}

pub(super) fn put_tags(into: &mut Vec<u8>, tags: &[Tag]) {
    into.push(narrow(tags.len()));
    for tag in tags {
        put_text(into, &tag.name);
        into.extend_from_slice(&tag.epoch.unwrap_or_default().to_le_bytes());
    }
}

pub(super) fn take_tags(from: &mut Bytes) -> Option<Vec<Tag>> {
    let count = from.try_get_u8().ok()?;
    let tag = |_| {
        let name = take_text(from)?;
        let epoch = from.try_get_u64_le().ok()?;
        Some(Tag { name: std::str::from_utf8(&name).ok()?.into(), epoch: Some(epoch) })
    };
    (0..count).map(tag).collect()
}

fn head(rest: &mut Bytes) -> Option<Head> {
    let digits = take(rest, DIGITS)?;
    if !digits.iter().all(u8::is_ascii_digit) || take(rest, MAGIC.len())? != MAGIC[..] {
        return None;
    }
    let head = Head {
        fresh_until: std::str::from_utf8(&digits).ok()?.parse().ok()?,
        codec: *CODECS.get(usize::from(rest.try_get_u8().ok()?))?,
        flags: rest.try_get_u8().ok()?,
        schema: rest.try_get_u32_le().ok()?,
        cost: Duration::from_micros(rest.try_get_u64_le().ok()?),
        fresh_for: Duration::from_micros(rest.try_get_u64_le().ok()?),
        stale_for: Duration::from_micros(rest.try_get_u64_le().ok()?),
        length: usize::try_from(rest.try_get_u32_le().ok()?).ok()?,
        key: take_text(rest)?,
        tags: take_tags(rest)?,
    };
    (head.flags & !(ABSENT | COMPRESSED) == 0).then_some(head)
}

fn payload(head: &Head, bytes: Bytes) -> Result<Bytes, Rejected> {
    if head.flags & COMPRESSED == 0 {
        return if bytes.len() == head.length { Ok(bytes) } else { Err(Rejected::Format) };
    }
    // The length was compared with what values may have: nothing makes this allocate more.
    let mut raw = vec![0; head.length];
    match lz4_flex::block::decompress_into(&bytes, &mut raw) {
        Ok(length) if length == head.length => Ok(raw.into()),
        _ => Err(Rejected::Format),
    }
}

/// Compressed, if that is worth it: an eighth less.
fn compressed(raw: &[u8], above: usize) -> Option<Vec<u8>> {
    if raw.len() < above.max(1) {
        return None;
    }
    let packed = lz4_flex::block::compress(raw);
    (packed.len() <= raw.len() - raw.len() / 8).then_some(packed)
}

fn put_text(into: &mut Vec<u8>, text: &str) {
    into.extend_from_slice(&narrow::<u16>(text.len()).to_le_bytes());
    into.extend_from_slice(text.as_bytes());
}

fn take_text(from: &mut Bytes) -> Option<Bytes> {
    let length = from.try_get_u16_le().ok()?;
    take(from, usize::from(length))
}

fn take(from: &mut Bytes, length: usize) -> Option<Bytes> {
    (from.len() >= length).then(|| from.split_to(length))
}

/// Names have at most 2,048 bytes, tags are at most eight, values are at most 512 MiB long.
fn narrow<T: TryFrom<usize>>(length: usize) -> T {
    let narrow = T::try_from(length).ok();
    narrow.expect("lengths are checked before they get here")
}

#[cfg(test)]
mod tests;
