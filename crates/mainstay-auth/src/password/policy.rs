use mainstay_core::secret::Secret;

/// Longest password in bytes, whatever the policy says: Argon2 reads all of them.
pub const MAX_BYTES: usize = 1024;

/// What a new password must be like: its length, and nothing that makes people write it on a note (NIST SP 800-63B).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Fewest characters. Default 8.
    pub least: usize,
    /// Most characters. Default 128.
    pub most: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { least: 8, most: 128 }
    }
}

impl Policy {
    /// Whether this may become somebody's password.
    ///
    /// # Errors
    /// [`Unfit`] names the rule and never the password.
    pub fn check(&self, password: &Secret<String>) -> Result<(), Unfit> {
        let password = password.expose();
        if password.len() > MAX_BYTES {
            return Err(Unfit::TooManyBytes { most: MAX_BYTES });
        }
        match password.chars().count() {
            chars if chars < self.least => Err(Unfit::TooShort { least: self.least }),
            chars if chars > self.most => Err(Unfit::TooLong { most: self.most }),
            _ => Ok(()),
        }
    }
}

/// The rule that a password breaks. May be shown to who chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Fewer characters than the policy asks for.
    #[error("a password has at least {least} characters")]
    TooShort {
        /// How many are enough.
        least: usize,
    },
    /// More characters than the policy allows.
    #[error("a password has at most {most} characters")]
    TooLong {
        /// How many are not too many.
        most: usize,
    },
    /// More than [`MAX_BYTES`].
    #[error("a password has at most {most} bytes")]
    TooManyBytes {
        /// How many are not too many.
        most: usize,
    },
}
