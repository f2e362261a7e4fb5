//! The token that keeps a session going.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use mainstay_core::secret::Secret;
use zeroize::Zeroizing;

use super::store::Digest;

/// Names the session: 128 random bits that only those know who had one of its tokens.
const FAMILY: usize = 16;
/// Differs from token to token.
const SECRET: usize = 32;

/// A refresh token: 48 random bytes in base64url. Of neither part more than the digest is kept.
pub(super) struct RefreshToken(Zeroizing<[u8; FAMILY + SECRET]>);

impl RefreshToken {
    /// The first of a session.
    pub(super) fn new() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    /// The next of the same session.
    pub(super) fn next(&self) -> Self {
        let mut next = Self::new();
        next.0[..FAMILY].copy_from_slice(&self.0[..FAMILY]);
        next
    }

    /// `None` if the text is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; FAMILY + SECRET]);
        if text.len() != (FAMILY + SECRET) * 4 / 3 {
            return None;
        }
        BASE64URL.decode_slice(text, bytes.as_mut_slice()).ok()?;
        Some(Self(bytes))
    }

    pub(super) fn text(&self) -> Secret<String> {
        Secret::new(BASE64URL.encode(self.0.as_slice()))
    }

    pub(super) fn family(&self) -> Digest {
        Digest::of(&self.0[..FAMILY])
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.0[FAMILY..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_nothing_else_is_one() {
        let token = RefreshToken::new();
        let text = token.text();
        let read = RefreshToken::parse(text.expose()).expect("it is one");
        assert_eq!((read.family(), read.digest()), (token.family(), token.digest()));
        let next = token.next();
        assert_eq!(next.family(), token.family());
        assert_ne!(next.digest(), token.digest());
        let good = text.expose();
        for bad in ["", &good[1..], &format!("{good}A"), &good.replacen(&good[..1], "=", 1), &"é".repeat(32)]
        {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
    }
}
