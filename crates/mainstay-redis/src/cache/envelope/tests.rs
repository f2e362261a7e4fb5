use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn entry(content: Option<&[u8]>) -> (Entry, Vec<Tag>) {
    let cost = Duration::from_micros(0x0102_0304);
    let value = match content {
        Some(content) => Value::new(Bytes::copy_from_slice(content), Codec::MessagePack, cost),
        None => Value::absent(cost),
    };
    let tags =
        vec![Tag { name: "users".into(), epoch: Some(7) }, Tag { name: "é".into(), epoch: Some(u64::MAX) }];
    let (fresh_for, stale_for) = (Duration::from_secs(60), Duration::from_millis(5));
    (Entry { value: Arc::new(value), fresh_for, stale_for, tags: tags.clone() }, tags)
}

fn options() -> Options {
    let mut options = Options::default();
    options.schema = 0xaabb_ccdd;
    options
}

/// As the server has it.
fn written(key: &str, content: Option<&[u8]>) -> Vec<u8> {
    let (entry, tags) = entry(content);
    [b"1700000000000000".to_vec(), seal(key, &entry, &tags, &options())].concat()
}

fn opened(bytes: Vec<u8>, key: &str) -> Result<(Head, Value), Rejected> {
    open(&bytes.into(), key, &options())
}

/// What releases have written, later ones can read: these bytes never change while the format is 1.
#[test]
fn the_format_is_the_one_that_was_published() {
    let golden: [&[u8]; 12] = [
        b"1700000000000000",
        b"MS\x01",
        b"\x01\x00",
        b"\xdd\xcc\xbb\xaa",
        b"\x04\x03\x02\x01\0\0\0\0",
        b"\x00\x87\x93\x03\0\0\0\0",
        b"\x88\x13\0\0\0\0\0\0",
        b"\x05\0\0\0",
        b"\x06\0user:1",
        b"\x02\x05\0users\x07\0\0\0\0\0\0\0\x02\0\xc3\xa9\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xa4text",
        b"\xc2\x67\x7f\x23",
    ];
    let bytes = written("user:1", Some(b"\xa4text"));
    assert_eq!(bytes.escape_ascii().to_string(), golden.concat().escape_ascii().to_string());
}

#[test]
fn what_was_sealed_is_opened() {
    let (head, value) = opened(written("user:1", Some(b"\xa4text")), "user:1").unwrap();
    assert_eq!(
        (value.bytes(), value.codec(), value.cost()),
        (&b"\xa4text"[..], Codec::MessagePack, head.cost)
    );
    assert_eq!(
        (head.fresh_until, head.fresh_for, head.stale_for),
        (1_700_000_000_000_000, Duration::from_secs(60), Duration::from_millis(5))
    );
    assert_eq!(head.tags, entry(None).1);
    let (head, value) = opened(written("user:1", None), "user:1").unwrap();
    assert!(head.is_absent() && value.is_absent() && value.bytes().is_empty());
}

#[test]
fn large_values_are_compressed_where_that_saves_an_eighth() {
    let text = "all work and no play ".repeat(1_000);
    let bytes = written("k", Some(text.as_bytes()));
    assert!(bytes.len() < text.len() / 8, "{}", bytes.len());
    assert_eq!(opened(bytes, "k").unwrap().1.bytes(), text.as_bytes());

    let mut rng: u64 = 1;
    let mut noise = || {
        rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        rng.to_le_bytes()[7]
    };
    let noise: Vec<u8> = std::iter::repeat_with(&mut noise).take(10_000).collect();
    let bytes = written("k", Some(&noise));
    assert!(bytes.windows(noise.len()).any(|part| part == noise), "it is there as it is");
    assert_eq!(opened(bytes, "k").unwrap().1.bytes(), noise);
}

#[test]
fn what_is_of_another_key_schema_or_format_is_rejected_and_says_so() {
    let bytes = written("user:1", Some(b"\xa4text"));
    let reason = |bytes: Vec<u8>, key| opened(bytes, key).map(drop).unwrap_err();
    assert_eq!(reason(bytes.clone(), "user:2"), Rejected::Key);
    let other = open(&bytes.clone().into(), "user:1", &Options::default()).map(drop);
    assert_eq!(other.unwrap_err(), Rejected::Schema);
    let mut future = bytes.clone();
    future[DIGITS + 2] = 2;
    assert_eq!(reason(future, "user:1"), Rejected::Format);
    let mut damaged = bytes;
    damaged[70] ^= 1;
    assert_eq!(reason(damaged, "user:1"), Rejected::Checksum);
    for nothing in
        [&b""[..], b"1", b"1700000000000000", b"1700000000000000MS\x01", b"hello, world, how are you?"]
    {
        assert!(opened(nothing.to_vec(), "k").is_err());
    }
}

/// A payload whose head promises more than values may have is not unpacked, although its checksum is right.
#[test]
fn what_would_unpack_to_more_than_is_allowed_is_rejected_before_it_is() {
    let text = vec![b'x'; 100_000];
    let bytes = written("k", Some(&text));
    let mut small = options();
    small.max_value_bytes = text.len() - 1;
    assert_eq!(open(&bytes.clone().into(), "k", &small).map(drop).unwrap_err(), Rejected::Size);
    small.max_value_bytes = text.len();
    assert!(open(&bytes.into(), "k", &small).is_ok());
}

#[test]
fn a_longest_head_fits_where_it_is_looked_for() {
    let name = "x".repeat(2_048);
    let (entry, _) = entry(Some(b""));
    let tags = vec![Tag { name: name.as_str().into(), epoch: Some(1) }; 8];
    let bytes = [&b"1700000000000000"[..], &seal(&name, &entry, &tags, &options())].concat();
    assert!(bytes.len() - CHECKSUM <= MAX_HEAD);
    assert_eq!(peek(&Bytes::from(bytes)).unwrap().tags.len(), 8);
}

/// Seals again what was changed, so that the checksum does not hide what the rest of the reader does.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(content) = bytes.len().checked_sub(CHECKSUM).filter(|end| *end >= DIGITS) {
        let checksum = crc32fast::hash(&bytes[DIGITS..content]).to_le_bytes();
        bytes[content..].copy_from_slice(&checksum);
    }
    bytes
}

proptest! {
    #[test]
    fn any_value_comes_back(
        key in ".{1,50}",
        content in prop::option::of(prop::collection::vec(any::<u8>(), 0..10_000)),
        repeated in 0_usize..3,
    ) {
        let content = content.map(|content| content.repeat(repeated));
        let (_, value) = opened(written(&key, content.as_deref()), &key).unwrap();
        prop_assert_eq!(value.is_absent(), content.is_none());
        prop_assert_eq!(value.bytes(), content.unwrap_or_default());
    }

    #[test]
    fn changed_bytes_are_never_a_value(at: prop::sample::Index, bits in 1_u8.., cut in any::<Option<prop::sample::Index>>()) {
        let mut bytes = written("user:1", Some(&b"some text that is long enough ".repeat(200)));
        let at = DIGITS + at.index(bytes.len() - DIGITS);
        bytes[at] ^= bits;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        prop_assert!(opened(bytes, "user:1").is_err());
    }

    #[test]
    fn changed_bytes_under_a_right_checksum_are_read_without_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        packed: bool,
    ) {
        let content = if packed { b"some text that is long enough ".repeat(200) } else { b"short".to_vec() };
        let mut bytes = written("user:1", Some(&content));
        for (at, byte) in changes {
            let at = at.index(bytes.len().min(120));
            bytes[at] = byte;
        }
        let _any = opened(resealed(bytes), "user:1");
    }

    #[test]
    fn whatever_bytes_there_are_nothing_panics(bytes: Vec<u8>, magic: bool) {
        let begin: &[u8] = if magic { b"1700000000000000MS\x01" } else { b"" };
        let bytes = resealed([begin, &bytes, &[0; CHECKSUM]].concat());
        let _any = peek(&bytes.clone().into());
        let _any = mark(&bytes);
        let _any = opened(bytes, "user:1");
    }
}
