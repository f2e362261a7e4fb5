//! Values that are kept so that only this service reads them.
//!
//! # Promise
//! - What was sealed opens only with a key of the ring, at the [`Place`] it was sealed for, and as it was sealed: a
//!   flipped bit, a missing byte, another record's ciphertext are all refused, with one [`Error::Refused`] that
//!   does not tell which.
//! - A value is bound to one key (key commitment): no bytes open under two keys of a ring.
//! - There is no number of messages after which a key is worn out: each message has a key of its own, derived from a
//!   random nonce of 192 bits. 2⁸⁰ messages meet with a chance of 2⁻³².
//! - Nothing panics, whatever bytes it is given.
//! - No formatter shows a key. Keys, and what is derived from them for long, are overwritten when the last sealer is
//!   dropped.
//!
//! # Not promised
//! - The length of a value is not hidden. A [blind index](Sealer::blind_index) tells which values are equal; that is
//!   what it is for, and where few values are possible, counting may tell which they are.
//! - That a value is the newest that was sealed for its place: an older one of the same place opens, too.
//! - A key made for one message, and the schedule of it, is left to the stack.
//!
//! # If the store is down
//! There is none: the ring is in memory.
//!
//! # Defaults
//! No keys. [`KeyRing::parse`] reads `ENCRYPTION_KEY` or `ENCRYPTION_KEYS`; the first key of a ring seals, all
//! open. A sealed value is [`OVERHEAD`] bytes and its key's id longer than the value.
//!
//! # Metrics
//! - `seal_operations_total{operation, result}`: `seal` with `done`, `failed`; `open` with `done`, `refused` and
//!   `unknown_key`, which means that a key was taken from the ring too early.
//!
//! ```
//! use mainstay_auth::seal::{KeyRing, Place, Sealer};
//!
//! let key = "8f1d6c0a5b3e49277a90d4c6e2b1f8035c7e9a1640d2b8f3e5a7c90b1d3f6284".into();
//! let sealer = Sealer::new(&KeyRing::parse(Some(&key), None)?.expect("a key is set"));
//!
//! let place = Place::new("user-service", "users.phone", "user-1");
//! let sealed = sealer.seal(&place, b"+49 30 901820")?;
//! assert_eq!(*sealer.open(&place, &sealed)?, b"+49 30 901820");
//! let other = Place::new("user-service", "users.phone", "user-2");
//! assert!(sealer.open(&other, &sealed).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod envelope;
mod error;
mod field;
mod instruments;
mod key;
#[cfg(feature = "legacy-cbc")]
mod legacy;
mod place;
mod ring;
mod sealer;
#[cfg(test)]
mod tests;
mod weak;
mod xaes;

pub use envelope::OVERHEAD;
pub use error::{Error, KeyError};
pub use field::{Field, SealedField};
pub use key::MAX_ID;
#[cfg(feature = "legacy-cbc")]
pub use legacy::LegacyCbc;
pub use place::Place;
pub use ring::{KeyRing, MAX_KEYS, SINGLE};
pub use sealer::Sealer;
