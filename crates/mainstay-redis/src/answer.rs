//! What a server answers.

use bytes::Bytes;

use crate::error::CallError;

/// An answer, as far as the stores tell answers apart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Nothing.
    Nil,
    /// A number.
    Int(i64),
    /// Bytes, also those of a status such as `OK`.
    Bytes(Bytes),
    /// Several answers.
    List(Vec<Answer>),
}

impl Answer {
    /// The number, also if it was sent as digits.
    ///
    /// # Errors
    /// It is something else.
    pub fn int(&self) -> Result<i64, CallError> {
        match self {
            Self::Int(number) => Ok(*number),
            Self::Bytes(bytes) => std::str::from_utf8(bytes)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(|| CallError::unexpected("no number")),
            _ => Err(CallError::unexpected("no number")),
        }
    }

    /// The number, which is not negative.
    ///
    /// # Errors
    /// It is something else.
    pub fn uint(&self) -> Result<u64, CallError> {
        u64::try_from(self.int()?).map_err(|_| CallError::unexpected("a negative number"))
    }

    /// The bytes.
    ///
    /// # Errors
    /// It is something else.
    pub fn into_bytes(self) -> Result<Bytes, CallError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(CallError::unexpected("no bytes")),
        }
    }

    /// The text.
    ///
    /// # Errors
    /// It is something else, or no UTF-8.
    pub fn text(&self) -> Result<&str, CallError> {
        match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| CallError::unexpected("no UTF-8")),
            _ => Err(CallError::unexpected("no text")),
        }
    }

    /// The answers.
    ///
    /// # Errors
    /// It is no list.
    pub fn into_list(self) -> Result<Vec<Answer>, CallError> {
        match self {
            Self::List(answers) => Ok(answers),
            _ => Err(CallError::unexpected("no list")),
        }
    }

    /// The answers, of which there are `N`.
    ///
    /// # Errors
    /// It is no list of this length.
    pub fn into_array<const N: usize>(self) -> Result<[Answer; N], CallError> {
        self.into_list()?.try_into().map_err(|_| CallError::unexpected("a list of another length"))
    }

    pub(crate) fn of(value: redis::Value) -> Result<Self, CallError> {
        use redis::Value;
        Ok(match value {
            Value::Nil => Self::Nil,
            Value::Int(number) => Self::Int(number),
            Value::Boolean(truth) => Self::Int(i64::from(truth)),
            Value::BulkString(bytes) => Self::Bytes(bytes.into()),
            Value::SimpleString(text) | Value::VerbatimString { text, .. } => Self::Bytes(text.into()),
            Value::Okay => Self::Bytes(Bytes::from_static(b"OK")),
            Value::Double(number) => Self::Bytes(number.to_string().into()),
            Value::Array(values) | Value::Set(values) => Self::list(values)?,
            Value::Map(pairs) => Self::list(pairs.into_iter().flat_map(|(key, value)| [key, value]))?,
            Value::Attribute { data, .. } => Self::of(*data)?,
            Value::ServerError(error) => {
                return Err(CallError::rejected(error.code(), error.details().unwrap_or_default()));
            }
            _ => return Err(CallError::unexpected("a kind of answer that nobody asked for")),
        })
    }

    fn list(values: impl IntoIterator<Item = redis::Value>) -> Result<Self, CallError> {
        values.into_iter().map(Self::of).collect::<Result<_, _>>().map(Self::List)
    }
}
