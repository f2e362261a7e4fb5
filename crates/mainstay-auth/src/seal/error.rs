/// Why a value was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not what a key of this ring sealed for this place. Whether the key is unknown, the place another or the
    /// bytes changed is not told: that would help who tries.
    #[error("the value cannot be opened")]
    Refused,
    /// No randomness, or more bytes than can be sealed in one piece.
    #[error("the value cannot be sealed: {0}")]
    Failed(&'static str),
}

/// What is wrong with the keys. No message quotes a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// One key and a ring are both set.
    #[error("one key and a ring of keys cannot both be set")]
    Both,
    /// A ring that is not `id:key,id:key`.
    #[error("a ring of keys is `id:key,id:key`, with at least one of them")]
    Form,
    /// An id that no key can have.
    #[error("the id of key number {number} is not 1 to 128 of [A-Za-z0-9._-]")]
    InvalidId {
        /// Which of the ring, from 1.
        number: usize,
    },
    /// A text that is not 32 bytes.
    #[error("key {id} is not 32 bytes as 64 hexadecimal digits or in base64")]
    InvalidKey {
        /// Which.
        id: String,
    },
    /// An id that two keys have.
    #[error("two keys have the id {id}")]
    SameId {
        /// Which.
        id: String,
    },
    /// One key under two ids.
    #[error("{first} and {second} are the same key")]
    SameKey {
        /// One of the ids.
        first: String,
        /// The other.
        second: String,
    },
    /// More than [`MAX_KEYS`](super::MAX_KEYS).
    #[error("a ring has at most {most} keys")]
    TooMany {
        /// How many it may have.
        most: usize,
    },
    /// A key that somebody thought up, or copied from an example.
    #[error("key {id} is not random: {why}; `openssl rand -hex 32` makes one that is")]
    Weak {
        /// Which.
        id: String,
        /// What gives it away.
        why: &'static str,
    },
}
