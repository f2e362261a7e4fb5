use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name of a thing or an act, in bytes.
const MAX_PART: usize = 64;

/// Leave to do one thing: `<what>:<act>`, such as `users:write`, each part 1 to 64 of `[a-z0-9._-]`.
///
/// There are no wildcards: what a role may do is written down.
///
/// ```
/// use mainstay_auth::Permission;
///
/// let write: Permission = "users:write".parse().unwrap();
/// assert_eq!(write.as_str(), "users:write");
/// assert!("users:*".parse::<Permission>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission(Arc<str>);

impl Permission {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Permission {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Permission {
    type Err = InvalidPermission;

    fn from_str(text: &str) -> Result<Self, InvalidPermission> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        let good = |part: &str| (1..=MAX_PART).contains(&part.len()) && part.bytes().all(plain);
        match text.split_once(':') {
            Some((what, act)) if good(what) && good(act) => Ok(Self(text.into())),
            _ => Err(InvalidPermission { text: text.chars().take(2 * MAX_PART).collect() }),
        }
    }
}

/// A text that names no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a permission: it is <what>:<act>, each 1 to 64 of [a-z0-9._-]")]
pub struct InvalidPermission {
    text: String,
}

/// What a caller may do. Cheap to clone; empty unless something was granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions(Arc<BTreeSet<Permission>>);

impl Permissions {
    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, permission: &str) -> bool {
        self.0.contains(permission)
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Permission> {
        self.0.iter()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(Arc::new(permissions.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_names_a_thing_and_an_act() {
        for good in ["users:read", "mainstay:write", "a.b-c_d:1"] {
            assert!(good.parse::<Permission>().is_ok(), "{good}");
        }
        let long = format!("users:{}", "x".repeat(65));
        for bad in ["", ":", "users", "users:", ":read", "users:*", "Users:read", "a:b:c", "a b:c", &long] {
            assert!(bad.parse::<Permission>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_is_permitted_that_was_not_granted() {
        assert!(!Permissions::default().contains("users:read"));
        let granted: Permissions = ["users:read".parse().unwrap()].into_iter().collect();
        assert!(granted.contains("users:read"));
        assert!(!granted.contains("users:write") && !granted.contains("users") && !granted.contains(""));
    }
}
