//! Roles, and what they permit.
//!
//! # Promise
//! - Deny by default: a role permits what it lists and what the roles list that it inherits from, and nothing else.
//!   An unknown role permits nothing.
//! - What is wrong with the roles is found when they are built, and named: the cycle with its whole path, the
//!   parent that does not exist, the permission that is none, the role that is described twice.
//! - Asking walks no graph: what a role permits is worked out once.
//!
//! # Not promised
//! - A change: roles are as they were built. Build others and hand those out.
//! - That a name means anything: `admin` is a role like any other.
//!
//! # If the store is down
//! There is none.
//!
//! # Defaults
//! No roles. At most [`MAX_ROLES`] roles and [`MAX_PERMISSIONS`] different permissions.
//!
//! # Metrics
//! None.
//!
//! ```
//! use mainstay_auth::role::Roles;
//!
//! let roles = Roles::builder()
//!     .role("user", ["posts:read"])
//!     .role("admin", ["users:read", "users:write"])
//!     .inherits("admin", "user")
//!     .build()?;
//! assert!(roles.permissions(["admin"]).contains("posts:read"));
//! assert!(!roles.permissions(["user", "ghost"]).contains("users:read"));
//!
//! let cycle = Roles::builder().role("a", []).role("b", []).inherits("a", "b").inherits("b", "a").build();
//! assert_eq!(cycle.unwrap_err().to_string(), "roles inherit from each other: a -> b -> a");
//! # Ok::<(), mainstay_auth::role::RoleError>(())
//! ```

mod build;
mod error;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Permissions;

pub use build::RolesBuilder;
pub use error::RoleError;

/// Most roles of one service.
pub const MAX_ROLES: usize = 500;

/// Most different permissions of all roles together.
pub const MAX_PERMISSIONS: usize = 1_000;

/// Longest name of a role, in bytes.
pub const MAX_NAME: usize = 64;

/// The roles of a service and what each permits. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Roles(Arc<HashMap<String, Permissions>>);

/// A role as a configuration file describes it; see [`Roles::from_specs`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoleSpec {
    /// What the role permits by itself.
    pub permissions: Vec<String>,
    /// The roles that it permits all of, too.
    pub inherits: Vec<String>,
}

impl Roles {
    /// Begins without any role.
    pub fn builder() -> RolesBuilder {
        RolesBuilder::default()
    }

    /// The roles that a configuration file describes: `[roles.admin]` with `permissions` and `inherits`.
    ///
    /// # Errors
    /// As [`RolesBuilder::build`].
    pub fn from_specs(specs: &BTreeMap<String, RoleSpec>) -> Result<Self, RoleError> {
        let mut builder = Self::builder();
        for (role, spec) in specs {
            builder = builder.role(role, spec.permissions.iter().map(String::as_str));
            for parent in &spec.inherits {
                builder = builder.inherits(role, parent);
            }
        }
        builder.build()
    }

    /// What all these roles permit together, with what they inherit. An unknown role adds nothing.
    pub fn permissions<'a>(&self, roles: impl IntoIterator<Item = &'a str>) -> Permissions {
        let mut known = roles.into_iter().filter_map(|role| self.0.get(role));
        let Some(first) = known.next() else { return Permissions::default() };
        match known.next() {
            // The usual case, a caller with one role, allocates nothing.
            None => first.clone(),
            Some(second) => {
                [first, second].into_iter().chain(known).flat_map(Permissions::iter).cloned().collect()
            }
        }
    }

    /// Whether there is such a role.
    #[must_use]
    pub fn contains(&self, role: &str) -> bool {
        self.0.contains_key(role)
    }

    /// The names of all roles, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}
