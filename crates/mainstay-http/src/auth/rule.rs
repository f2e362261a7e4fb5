use std::fmt;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Everybody.
    Public,
    /// Whoever is recognised. What is not the caller's own, the handler has to refuse.
    Authenticated,
    /// Callers in this role.
    Role(&'static str),
    /// Callers with this permission.
    Permission(&'static str),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public"),
            Self::Authenticated => f.write_str("authenticated"),
            Self::Role(role) => write!(f, "role {role}"),
            Self::Permission(permission) => write!(f, "permission {permission}"),
        }
    }
}
