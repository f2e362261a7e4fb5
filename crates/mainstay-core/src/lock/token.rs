//! What proves that a lock is one's own.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;

/// Names one attempt to hold a key: 128 random bits. Whoever knows it can release what the attempt holds, so
/// it is shown in full by `Display` only, and compared in constant time.
///
/// ```
/// use mainstay_core::lock::Token;
///
/// let token: Token = "000102030405060708090a0b0c0d0e0f".parse()?;
/// assert_eq!(token.to_string(), "000102030405060708090a0b0c0d0e0f");
/// assert_eq!(format!("{token:?}"), "Token(..)");
/// # Ok::<(), mainstay_core::lock::InvalidToken>(())
/// ```
#[derive(Clone, Copy)]
pub struct Token(u128);

impl Token {
    /// A new one, from the operating system's randomness by way of a cryptographic generator.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The first 8 of its digits, to be shown: the other 96 bits stay secret.
    #[must_use]
    pub fn short_id(&self) -> Box<str> {
        format!("{:08x}", self.0 >> 96).into()
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        black_box(self.0 ^ other.0) == 0
    }
}

impl Eq for Token {}

/// 32 lowercase hexadecimal digits.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(InvalidToken)
    }
}

/// A text that is no [`Token`]. Does not repeat it: it may be a secret with a typo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("token must be 32 hexadecimal digits")]
#[non_exhaustive]
pub struct InvalidToken;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_32_digits_is_no_token() {
        let plus = format!("+{}", "0".repeat(31));
        for bad in ["", "0", "xyz", &"0".repeat(33), &"g".repeat(32), &plus, &"é".repeat(16)] {
            assert_eq!(bad.parse::<Token>(), Err(InvalidToken), "{bad}");
        }
    }

    #[test]
    fn tokens_differ_and_are_read_as_they_were_written() {
        let (one, two) = (Token::random(), Token::random());
        assert_ne!(one, two);
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(one.to_string().to_uppercase().parse(), Ok(one));
        assert_eq!(*one.short_id(), one.to_string()[..8]);
    }
}
