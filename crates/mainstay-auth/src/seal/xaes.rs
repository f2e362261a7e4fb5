//! XAES-256-GCM (<https://c2sp.org/XAES-256-GCM>) with a commitment to the key.
//!
//! From the key and the first half of the nonce, a KDF (NIST SP 800-108r1, counter mode, AES-256-CMAC) makes the key
//! of one message; AES-256-GCM with it and the second half of the nonce does the rest. The same KDF with another
//! label makes 256 bits that commit to the key, as <https://eprint.iacr.org/2025/758> proposes.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize as _, Zeroizing};

pub(super) const KEY: usize = 32;
pub(super) const NONCE: usize = 24;
pub(super) const COMMITMENT: usize = 32;
pub(super) const TAG: usize = 16;

const BLOCK: usize = 16;
/// What XAES-256-GCM derives keys with.
const ENCRYPT: u8 = b'X';
/// Ours.
const COMMIT: u8 = b'C';

/// A key for any number of messages. Its schedule is overwritten when it is dropped.
pub(super) struct Xaes {
    aes: Aes256,
    /// CMAC's first subkey; the second is for messages that do not fill their block.
    subkey: Zeroizing<[u8; BLOCK]>,
}

/// What one nonce makes of it.
pub(super) struct MessageKey {
    gcm: LessSafeKey,
    nonce: [u8; NONCE_LEN],
    pub(super) commitment: [u8; COMMITMENT],
}

impl Xaes {
    pub(super) fn new(key: &[u8; KEY]) -> Self {
        let aes = Aes256::new(key.into());
        let mut subkey = Array::from([0; BLOCK]);
        aes.encrypt_block(&mut subkey);
        let doubled = double(u128::from_be_bytes(subkey.0)).to_be_bytes();
        subkey.zeroize();
        Self { aes, subkey: Zeroizing::new(doubled) }
    }

    pub(super) fn message_key(&self, nonce: &[u8; NONCE]) -> MessageKey {
        let (context, rest) = nonce.split_at(NONCE - NONCE_LEN);
        let input = |label: u8, counter: u8| {
            let mut block = [0, counter, label, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            block[BLOCK - context.len()..].copy_from_slice(context);
            block.iter_mut().zip(self.subkey.iter()).for_each(|(byte, mask)| *byte ^= mask);
            Array::from(block)
        };
        let mut blocks = [input(ENCRYPT, 1), input(ENCRYPT, 2), input(COMMIT, 1), input(COMMIT, 2)];
        self.aes.encrypt_blocks(&mut blocks);

        let mut key = Zeroizing::new([0; KEY]);
        let mut commitment = [0; COMMITMENT];
        for (to, block) in
            key.chunks_exact_mut(BLOCK).chain(commitment.chunks_exact_mut(BLOCK)).zip(&mut blocks)
        {
            to.copy_from_slice(block);
            block.zeroize();
        }
        let gcm = UnboundKey::new(&AES_256_GCM, &*key).expect("AES-256-GCM takes 32 bytes");
        let nonce = rest.try_into().expect("the second half of a nonce has 12 bytes");
        MessageKey { gcm: LessSafeKey::new(gcm), nonce, commitment }
    }
}

impl MessageKey {
    /// Encrypts `data` where it is. `None` if it is longer than AES-GCM allows, 64 GiB.
    pub(super) fn seal(&self, aad: &[u8], data: &mut [u8]) -> Option<[u8; TAG]> {
        let tag = self.gcm.seal_in_place_separate_tag(self.nonce(), Aad::from(aad), data).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Decrypts ciphertext and tag where they are; the plain text is what is returned, at the beginning.
    pub(super) fn open<'a>(&self, aad: &[u8], data: &'a mut [u8]) -> Option<&'a mut [u8]> {
        self.gcm.open_in_place(self.nonce(), Aad::from(aad), data).ok()
    }

    /// The one nonce of this key. Sealing twice with a message key would be a mistake; it is made for one nonce.
    fn nonce(&self) -> Nonce {
        Nonce::assume_unique_for_key(self.nonce)
    }
}

/// Times x in GF(2¹²⁸), as CMAC makes its subkeys (NIST SP 800-38B, section 6.1). Without a branch on the secret.
fn double(block: u128) -> u128 {
    (block << 1) ^ ((block >> 127) * 0b1000_0111)
}

/// Compares without telling where the difference is.
pub(super) fn same(left: &[u8; COMMITMENT], right: &[u8; COMMITMENT]) -> bool {
    std::hint::black_box(
        left.iter().zip(right).fold(0, |difference, (left, right)| difference | (left ^ right)),
    ) == 0
}

#[cfg(test)]
impl MessageKey {
    /// AES-256-GCM and nothing else.
    pub(super) fn bare(key: &[u8; KEY], nonce: [u8; NONCE_LEN]) -> Self {
        let gcm = UnboundKey::new(&AES_256_GCM, key).expect("AES-256-GCM takes 32 bytes");
        Self { gcm: LessSafeKey::new(gcm), nonce, commitment: [0; COMMITMENT] }
    }
}

#[cfg(test)]
impl Xaes {
    pub(super) fn subkey(&self) -> [u8; BLOCK] {
        *self.subkey
    }
}
