//! A value in the cache: its bytes, and what they decode to.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::{self, Codec};

use super::Cached;

/// A cached value, or the knowledge that there is none.
///
/// It is decoded once: the first type it is read as is remembered beside the bytes and cloned from then
/// on. Reading it as another type decodes it each time.
pub struct Value {
    content: Option<Bytes>,
    codec: Codec,
    cost: Duration,
    decoded: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Value {
    /// A value in the bytes of `codec`; `cost` is how long it took to load, zero if unknown.
    #[must_use]
    pub const fn new(bytes: Bytes, codec: Codec, cost: Duration) -> Self {
        Self { content: Some(bytes), codec, cost, decoded: OnceLock::new() }
    }

    /// The knowledge that there is no value, and how long it took to learn.
    #[must_use]
    pub const fn absent(cost: Duration) -> Self {
        Self { content: None, codec: Codec::Json, cost, decoded: OnceLock::new() }
    }

    /// Whether it is known that there is no value.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.content.is_none()
    }

    /// The bytes; empty if it is [absent](Self::is_absent).
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.content.as_deref().unwrap_or_default()
    }

    /// The format of the bytes.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// How long it took to load.
    #[must_use]
    pub const fn cost(&self) -> Duration {
        self.cost
    }

    /// The value as a `T`; `None` if it is [absent](Self::is_absent).
    ///
    /// # Errors
    /// The bytes are not a `T`.
    #[inline]
    pub fn decode<T: Cached>(&self) -> Result<Option<T>, codec::Error> {
        if let Some(decoded) = self.decoded.get().and_then(|decoded| decoded.downcast_ref::<T>()) {
            return Ok(Some(decoded.clone()));
        }
        self.decode_bytes()
    }

    #[cold]
    fn decode_bytes<T: Cached>(&self) -> Result<Option<T>, codec::Error> {
        let Some(bytes) = &self.content else { return Ok(None) };
        let value: T = self.codec.decode(bytes)?;
        // Whoever else was first is as good.
        self.decoded.get_or_init(|| Box::new(value.clone()));
        Ok(Some(value))
    }
}

/// Without the content: it belongs to the user.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value")
            .field("bytes", &self.content.as_ref().map(Bytes::len))
            .field("codec", &self.codec)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}
