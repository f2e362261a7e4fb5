//! A short name for something long.

use sha2::{Digest as _, Sha256};

/// SHA-256 over parts, each with its length, so that no two lists of parts read the same.
#[derive(Debug, Default)]
pub(super) struct Digest(Sha256);

impl Digest {
    #[must_use]
    pub(super) fn part(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// The first 128 bits, as 32 hexadecimal digits.
    pub(super) fn hex(self) -> String {
        use std::fmt::Write;
        self.0.finalize().iter().take(16).fold(String::with_capacity(32), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes what is written");
            hex
        })
    }
}
