use crate::InvalidPermission;

/// What is wrong with the roles. Fix the list; there is nothing to retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// A name that no role can have.
    #[error("{0:?} cannot name a role: 1 to 64 of [A-Za-z0-9._-]")]
    InvalidName(String),
    /// A role lists what is no permission.
    #[error("role {role}: {source}")]
    InvalidPermission {
        /// Which role.
        role: String,
        /// What it lists.
        source: InvalidPermission,
    },
    /// A role is described twice.
    #[error("role {0} is described twice")]
    Twice(String),
    /// A role that is not described is said to inherit.
    #[error("{role} inherits from {parent}, but there is no role {role}")]
    UnknownRole {
        /// The role that does not exist.
        role: String,
        /// What it was to inherit from.
        parent: String,
    },
    /// A role inherits from one that is not described.
    #[error("role {role} inherits from {parent}, but there is no role {parent}")]
    UnknownParent {
        /// The role that inherits.
        role: String,
        /// The one that does not exist.
        parent: String,
    },
    /// Roles inherit from each other.
    #[error("roles inherit from each other: {}", .path.join(" -> "))]
    Cycle {
        /// The roles of the cycle in order, the first again at the end.
        path: Vec<String>,
    },
    /// More than [`MAX_ROLES`](super::MAX_ROLES) or [`MAX_PERMISSIONS`](super::MAX_PERMISSIONS).
    #[error("more than {most} {what}")]
    TooMany {
        /// `roles` or `permissions`.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
}
