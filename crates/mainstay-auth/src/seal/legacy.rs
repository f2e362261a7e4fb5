use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use mainstay_core::secret::Secret;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::key::{self, from_hex};
use super::{Error, KeyError, SINGLE};

const KEY: usize = 32;
const BLOCK: usize = 16;

/// `aes-256-cbc` as Node's `crypto` writes it: `<iv>:<ciphertext>` in hexadecimal digits, PKCS #7 padding. To read
/// what an older service left and to write what one beside this still reads. Cheap to clone.
///
/// **It is not authenticated:** who can write to the store can change what is read, and who may try often enough and
/// is told what failed can read it. So one error is all there is; never tell a caller more. Seal what was read
/// with a [`Sealer`](super::Sealer). The first use writes a warning to the log.
///
/// ```
/// use mainstay_auth::seal::LegacyCbc;
///
/// let legacy = LegacyCbc::parse(&"0123456789abcdef0123456789abcdef".into())?; // 32 characters as they are
/// let written = "000102030405060708090a0b0c0d0e0f:eb68bd96bdef301a873c88e552aa9a6c";
/// assert_eq!(legacy.open(written)?.as_str(), "secret");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LegacyCbc(Arc<Inner>);

struct Inner {
    key: Zeroizing<[u8; KEY]>,
    warned: AtomicBool,
}

impl LegacyCbc {
    /// Reads a key: 64 hexadecimal digits, base64 of 32 bytes, or 32 bytes of text as they are.
    ///
    /// # Errors
    /// [`KeyError::InvalidKey`], for the key `default`.
    pub fn parse(key: &Secret<String>) -> Result<Self, KeyError> {
        let text = key.expose();
        let plain = || <[u8; KEY]>::try_from(text.as_bytes()).ok().map(Zeroizing::new);
        let key = plain().or_else(|| key::parse(text.trim()));
        let key = key.ok_or_else(|| KeyError::InvalidKey { id: SINGLE.to_owned() })?;
        Ok(Self(Arc::new(Inner { key, warned: AtomicBool::new(false) })))
    }

    /// Encrypts as Node's `createCipheriv('aes-256-cbc', key, randomBytes(16))` does.
    ///
    /// # Errors
    /// [`Error::Failed`] where the system gives no randomness.
    pub fn seal(&self, plain: &str) -> Result<String, Error> {
        self.warn();
        let mut iv = [0; BLOCK];
        SystemRandom::new().fill(&mut iv).map_err(|_| Error::Failed("the system gives no randomness"))?;
        let cipher = cbc::Encryptor::<Aes256>::new((&*self.0.key).into(), &iv.into());
        Ok(format!("{}:{}", hex(&iv), hex(&cipher.encrypt_padded_vec::<Pkcs7>(plain.as_bytes()))))
    }

    /// Decrypts what [`seal`](Self::seal), or Node, made.
    ///
    /// # Errors
    /// [`Error::Refused`] for everything else that is noticed. Without authentication much is not.
    pub fn open(&self, sealed: &str) -> Result<Zeroizing<String>, Error> {
        self.warn();
        self.decrypt(sealed).ok_or(Error::Refused)
    }

    fn decrypt(&self, sealed: &str) -> Option<Zeroizing<String>> {
        let plain = self.decrypt_bytes(sealed)?;
        str::from_utf8(&plain).ok().map(|plain| Zeroizing::new(plain.to_owned()))
    }

    pub(super) fn decrypt_bytes(&self, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        let (iv, data) = sealed.split_once(':')?;
        let iv: [u8; BLOCK] = from_hex(iv)?.as_slice().try_into().ok()?;
        let mut data = from_hex(data)?;
        let cipher = cbc::Decryptor::<Aes256>::new((&*self.0.key).into(), &iv.into());
        let length = cipher.decrypt_padded::<Pkcs7>(&mut data).ok()?.len();
        data.truncate(length);
        Some(data)
    }

    fn warn(&self) {
        if !self.0.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "aes-256-cbc is in use: it is not authenticated; open old values and seal them anew"
            );
        }
    }
}

impl fmt::Debug for LegacyCbc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegacyCbc").finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
