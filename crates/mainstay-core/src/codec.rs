//! How values become bytes.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The formats values can be kept in. Both are self-describing, so a field that is added, removed or
/// skipped is read as serde's attributes say.
///
/// ```
/// use mainstay_core::codec::Codec;
///
/// let bytes = Codec::MessagePack.encode(&("answer", 42))?;
/// assert_eq!(Codec::MessagePack.decode::<(String, u32)>(&bytes)?, ("answer".to_owned(), 42));
/// # Ok::<(), mainstay_core::codec::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Codec {
    /// Readable by people and by other languages.
    #[default]
    Json,
    /// About two thirds of the size, with the names of the fields.
    MessagePack,
}

impl Codec {
    /// The value as bytes.
    ///
    /// # Errors
    /// What `T` or the format refuses: a map whose keys are not strings, say.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Bytes, Error> {
        let encoded = match self {
            Self::Json => serde_json::to_vec(value).map_err(|error| Error(error.into())),
            Self::MessagePack => rmp_serde::to_vec_named(value).map_err(|error| Error(error.into())),
        };
        encoded.map(Bytes::from)
    }

    /// The value in `bytes`.
    ///
    /// # Errors
    /// The bytes are not of this format, or not a `T`.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Error> {
        match self {
            Self::Json => serde_json::from_slice(bytes).map_err(|error| Error(error.into())),
            Self::MessagePack => rmp_serde::from_slice(bytes).map_err(|error| Error(error.into())),
        }
    }
}

/// A value that cannot be written, or bytes that cannot be read. The text names types and places, no values.
#[derive(Debug, thiserror::Error)]
#[error("codec: {0}")]
pub struct Error(#[source] Box<dyn std::error::Error + Send + Sync>);
