use std::fmt;

/// Names one request in every log line, answer and call it causes.
///
/// ```
/// use mainstay_core::telemetry::RequestId;
/// assert_eq!(RequestId::accept(Some("order-17")).as_str(), "order-17");
/// assert_eq!(RequestId::accept(Some("two\nlines")).as_str().len(), 32);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// A new random id: 128 bits in hexadecimal.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// The caller's id if it matches `[A-Za-z0-9._-]{1,128}`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        let valid = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.to_owned()))
    }

    /// The caller's id if it is valid, else a new one.
    #[must_use]
    pub fn accept(header: Option<&str>) -> Self {
        header.and_then(Self::parse).unwrap_or_else(Self::random)
    }

    /// The id, safe for headers and logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
