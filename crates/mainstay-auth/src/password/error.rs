use super::policy::Unfit;

/// Why there is no hash, or no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too many passwords are being hashed already. Try again a little later.
    #[error("too many passwords are being hashed at the moment")]
    Busy,
    /// The policy refuses this password. Choose another.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// What is kept is no Argon2 hash, or one that costs more than is ever paid. No password will be right.
    #[error("what is kept for this account is not an Argon2 hash that can be checked")]
    Unreadable,
    /// No memory, no randomness, or the runtime is shutting down.
    #[error("the password could not be hashed: {0}")]
    Failed(&'static str),
}
