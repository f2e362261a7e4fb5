/// Why a check was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is a key of the report and of metrics, so its alphabet is small.
    #[error("health check name {name:?} must be 1 to 64 characters of a-z, 0-9, '_', '.' or '-'")]
    InvalidName {
        /// The refused name.
        name: String,
    },
    /// Two checks under one name would hide each other; deregister the first.
    #[error("a health check named {name:?} is already registered")]
    Duplicate {
        /// The name in use.
        name: String,
    },
}
