//! Values that must not be printed.
//!
//! # Promise
//! - No formatter and no serializer shows the value: `Debug` prints `***`, `Serialize` emits `"***"`,
//!   `Display` does not exist. [`Secret::expose`] is the only way out, so a review can search for it.
//! - The memory of the value is overwritten when the secret is dropped.
//! - An error of its own `Deserialize` never quotes the value.
//!
//! # Not promised
//! Copies made before the value became a secret (the process environment, a file, a parser's buffer)
//! are not overwritten. A format that quotes its own input in errors, as `toml` does, quotes secrets
//! too; [`crate::config`] does not print such errors.
//!
//! # Defaults
//! None: a secret has no default value.
//!
//! # Metrics
//! None.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::Zeroize;

/// What is printed in place of a secret.
pub const REDACTED: &str = "***";

/// A value that no formatter or serializer prints.
///
/// ```
/// use mainstay_core::secret::Secret;
///
/// let password = Secret::new("hunter2".to_owned());
/// assert_eq!(format!("{password:?}"), "***");
/// assert_eq!(password.expose(), "hunter2");
/// ```
///
/// It cannot be displayed at all:
///
/// ```compile_fail,E0277
/// println!("{}", mainstay_core::secret::Secret::new("hunter2".to_owned()));
/// ```
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Hand it to the one call that needs it and keep no copy.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl From<&str> for Secret<String> {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T: Zeroize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The inner error may quote the value ("invalid type: string \"hunter2\"").
        T::deserialize(deserializer)
            .map(Self)
            .map_err(|_| D::Error::custom("a secret has the wrong type or form"))
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
