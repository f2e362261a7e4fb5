//! How values become bytes.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

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
            Self::Json => serde_json::to_vec(value).map_err(|error| Error::new(&error)),
            Self::MessagePack => rmp_serde::to_vec_named(value).map_err(|error| Error::new(&error)),
        };
        encoded.map(Bytes::from)
    }

    /// The value in `bytes`.
    ///
    /// # Errors
    /// The bytes are not of this format, or not a `T`.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Error> {
        match self {
            Self::Json => serde_json::from_slice(bytes).map_err(|error| {
                let place = format!(" at line {} column {}", error.line(), error.column());
                if error.is_data() { Error::without_value(&error, &place) } else { Error::new(&error) }
            }),
            Self::MessagePack => from_message_pack(bytes),
        }
    }
}

/// Deepest nesting of a value that is read, as of `serde_json`: what comes from outside must not exhaust the stack.
const MAX_DEPTH: usize = 128;

fn from_message_pack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut reader).map_err(|error| Error::without_value(&error, ""))?;
    match IgnoredAny::deserialize(&mut reader) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value), // there is no more
        _ => Err(Error("bytes after the value".into())),
    }
}

/// A value that cannot be written, or bytes that cannot be read. The text names types and places, no values:
/// it goes to logs and dead letters, where what users wrote must not be.
#[derive(Debug, thiserror::Error)]
#[error("codec: {0}")]
pub struct Error(Box<str>);

impl Error {
    fn new(error: &impl fmt::Display) -> Self {
        Self(error.to_string().into())
    }

    /// What serde says of data of another shape, without the data. What a type says for itself may hold anything
    /// and is left out.
    fn without_value(error: &impl fmt::Display, place: &str) -> Self {
        let text = error.to_string();
        let text = text.strip_suffix(place).unwrap_or(&text);
        let of_the_type = ["missing field ", "duplicate field "].iter().any(|start| text.starts_with(start));
        let of_the_data = ["invalid type: ", "invalid value: ", "invalid length "];
        let safe = if of_the_type {
            text.to_owned()
        } else if of_the_data.iter().any(|start| text.starts_with(start))
            && let Some((found, expected)) = text.rsplit_once(", expected ")
        {
            // The kind of what was found stands before its value, which is in one of these quotes.
            let kind = found.split(['`', '"']).next().unwrap_or_default().trim_end();
            format!("{kind}, expected {expected}")
        } else if text.starts_with("unknown variant ") {
            "unknown variant".to_owned()
        } else if text.starts_with("unknown field ") {
            "unknown field".to_owned()
        } else {
            "a value is not valid".to_owned()
        };
        Self((safe + place).into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Shape {
        number: u8,
        kind: Option<Kind>,
        #[serde(default, deserialize_with = "picky")]
        picky: (),
    }

    fn picky<'de, D: serde::Deserializer<'de>>(value: D) -> Result<(), D::Error> {
        Err(serde::de::Error::custom(format!("{} is not good enough", String::deserialize(value)?)))
    }

    #[derive(Debug, Deserialize)]
    enum Kind {
        Known,
    }

    fn said(codec: Codec, value: &Value) -> String {
        let bytes = codec.encode(value).unwrap();
        let error = codec.decode::<Shape>(&bytes).unwrap_err();
        assert!(std::error::Error::source(&error).is_none(), "a cause would say it again");
        error.to_string()
    }

    #[test]
    fn an_error_says_what_is_wrong_and_no_value() {
        let values = [
            (json!({"number": "canary, expected \" nothing"}), "invalid type: string, expected u8"),
            (json!({"number": 1_234_567}), "invalid value: integer, expected u8"),
            (json!({"number": -7.25}), "invalid type: floating point, expected u8"),
            (json!({"number": 1, "kind": "canary"}), "unknown variant"),
            (json!({"number": 1, "picky": "canary"}), "a value is not valid"),
            (json!({"number": 1, "canary": 1}), "unknown field"),
            (json!({}), "missing field `number`"),
        ];
        for (value, expected) in values {
            let json = said(Codec::Json, &value);
            assert!(json.contains(expected), "{value}: {json}");
            for said in [json, said(Codec::MessagePack, &value)] {
                assert!(!["canary", "1234567", "7.25"].iter().any(|value| said.contains(value)), "{said}");
            }
        }
        assert!(said(Codec::Json, &json!({})).contains("at line 1 column 2"));
        let map = HashMap::from([((1, 2), 3)]);
        assert!(Codec::Json.encode(&map).unwrap_err().to_string().contains("key must be a string"));
    }

    #[test]
    fn what_follows_the_value_is_an_error() {
        for codec in [Codec::Json, Codec::MessagePack] {
            let mut bytes = codec.encode(&7).unwrap().to_vec();
            assert_eq!(codec.decode::<u32>(&bytes).unwrap(), 7);
            bytes.push(codec.encode(&7).unwrap()[0]);
            bytes.push(b'x');
            assert!(codec.decode::<u32>(&bytes).is_err(), "{codec:?}");
        }
    }

    #[test]
    fn values_nested_without_end_are_an_error() {
        let nested = |open: u8| vec![open; 100_000];
        assert!(Codec::Json.decode::<Value>(&nested(b'[')).is_err());
        assert!(Codec::MessagePack.decode::<Value>(&nested(0x91)).is_err());
        assert!(Codec::MessagePack.decode::<IgnoredAny>(&nested(0x91)).is_err());
    }
}
