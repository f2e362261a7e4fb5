use std::fmt::Write;
use std::str::FromStr;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use mainstay_core::key::{InvalidKey, Key};
use mainstay_core::lock::{Fence, Guard};

use crate::Problem;

/// The header `Mainstay-Fence: <name>;t=<number>`: the request is made under this lock, with this fence.
///
/// Whoever calls says under which lock it does; whoever is called remembers the highest fence of each name beside what
/// the lock protects, and refuses lower ones: so a holder that slept through the end of its lock changes nothing.
/// The name is percent-encoded but for `[A-Za-z0-9._~-]`.
///
/// As an extractor it refuses a header that is missing (unless taken as `Option<FenceHeader>`), repeated or malformed
/// with `400`, and names it. It proves nothing about the caller: whoever may call may send any fence, so authorize
/// first.
///
/// ```
/// use mainstay_http::FenceHeader;
///
/// let header = FenceHeader::new("report:2026/01", 1_767_225_600_000_000.into())?;
/// assert_eq!(header.value(), "report%3A2026%2F01;t=1767225600000000");
/// assert_eq!(header.value().to_str()?.parse(), Ok(header));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceHeader {
    name: String,
    fence: Fence,
}

impl FenceHeader {
    /// What the header is called.
    pub const NAME: HeaderName = HeaderName::from_static("mainstay-fence");

    /// The fence of the lock called `name`.
    ///
    /// # Errors
    /// [`InvalidKey`]: no lock can have this name.
    pub fn new(name: impl Into<String>, fence: Fence) -> Result<Self, InvalidKey> {
        let name = name.into();
        Key::new(&name)?;
        Ok(Self { name, fence })
    }

    /// What is locked.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// To be compared with the highest that was seen.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// The header's value, for a request that is sent: at most 6,167 bytes.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        let mut value = String::with_capacity(self.name.len() + 24);
        for byte in self.name.bytes() {
            if is_plain(byte) {
                value.push(char::from(byte));
            } else {
                write!(value, "%{byte:02X}").expect("a string takes what is written");
            }
        }
        write!(value, ";t={}", self.fence).expect("a string takes what is written");
        HeaderValue::try_from(value).expect("plain characters, percents and digits")
    }
}

impl From<&Guard> for FenceHeader {
    fn from(guard: &Guard) -> Self {
        Self { name: guard.key().to_owned(), fence: guard.fence() }
    }
}

/// A text that is no value of [`FenceHeader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header `Mainstay-Fence` must read `<name>;t=<number>`, with the name percent-encoded")]
#[non_exhaustive]
pub struct InvalidFenceHeader;

impl FromStr for FenceHeader {
    type Err = InvalidFenceHeader;

    fn from_str(value: &str) -> Result<Self, InvalidFenceHeader> {
        let (name, number) = value.split_once(";t=").ok_or(InvalidFenceHeader)?;
        // A number has one form: no sign, no leading zero.
        let digits =
            number.bytes().all(|byte| byte.is_ascii_digit()) && (number == "0" || !number.starts_with('0'));
        let fence: Option<u64> = digits.then(|| number.parse().ok()).flatten();
        let name = decoded(name).ok_or(InvalidFenceHeader)?;
        Self::new(name, fence.ok_or(InvalidFenceHeader)?.into()).map_err(|_| InvalidFenceHeader)
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._~-".contains(&byte)
}

fn decoded(name: &str) -> Option<String> {
    let mut bytes = name.bytes();
    let mut decoded = Vec::with_capacity(name.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte if is_plain(byte) => byte,
            _ => return None,
        });
    }
    String::from_utf8(decoded).ok()
}

impl<S: Send + Sync> FromRequestParts<S> for FenceHeader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read(parts)?.ok_or_else(|| Problem::bad_request("The header `Mainstay-Fence` is missing."))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for FenceHeader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        read(parts)
    }
}

fn read(parts: &Parts) -> Result<Option<FenceHeader>, Problem> {
    let mut values = parts.headers.get_all(FenceHeader::NAME).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::bad_request("The header `Mainstay-Fence` may stand only once."));
    }
    let header = value.to_str().map_err(|_| InvalidFenceHeader).and_then(str::parse);
    header.map(Some).map_err(|error| Problem::bad_request(format!("{error}.").replacen("the", "The", 1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_a_name_and_a_number_is_refused() {
        let long = format!("{};t=1", "%41".repeat(2_049));
        for bad in [
            "",
            "a",
            ";t=1",
            "a;t=",
            "a;t=-1",
            "a;t=+1",
            "a;t=01",
            "a;t=1 ",
            " a;t=1",
            "a; t=1",
            "a;T=1",
            "a b;t=1",
            "a/b;t=1",
            "%;t=1",
            "%4;t=1",
            "%zz;t=1",
            "%+1;t=1",
            "%ff;t=1",
            "a;t=1;t=2",
            "a;t=18446744073709551616",
            "é;t=1",
            &long,
        ] {
            assert_eq!(bad.parse::<FenceHeader>(), Err(InvalidFenceHeader), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_is_read(name in "\\PC{1,60}|[\\x00-\\x7f]{1,60}", fence in any::<u64>()) {
            let header = FenceHeader::new(name, fence.into()).unwrap();
            prop_assert_eq!(header.value().to_str().unwrap().parse(), Ok(header));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[%;=t0-9a-f]{0,40}") {
            let _read = text.parse::<FenceHeader>();
        }
    }
}
