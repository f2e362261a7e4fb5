use super::CATEGORIES;

/// Why logging is not as asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process has its subscriber already; only the first can be installed.
    #[error("the process-wide log subscriber is already installed")]
    AlreadyInstalled,
    /// Not a debug category.
    #[error("unknown debug category {category:?}: use * or any of {}", names())]
    UnknownCategory {
        /// The unknown name.
        category: String,
    },
    /// Not a level.
    #[error("unknown log level {level:?}: use off, error, warn, info, debug or trace")]
    UnknownLevel {
        /// The unknown name.
        level: String,
    },
}

fn names() -> String {
    CATEGORIES.map(|(name, _)| name).join(", ")
}
