use std::sync::Arc;

use jiff::Timestamp;

use crate::Permissions;

/// A caller that was recognised. Cheap to clone.
///
/// ```
/// use mainstay_auth::Principal;
///
/// let ada = Principal::new("user-1").with_roles(["editor".to_owned()]);
/// assert!(ada.has_role("editor"));
/// assert!(!ada.may("users:write"), "a role without permissions permits nothing");
/// assert!(ada.may_touch("user-1", "users:write"), "but what is one's own");
/// assert!(!ada.may_touch("user-2", "users:write"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    subject: Arc<str>,
    roles: Arc<[String]>,
    permissions: Permissions,
    session: Option<Arc<str>>,
    token: Option<Arc<str>>,
    expires: Option<Timestamp>,
}

impl Principal {
    /// A caller of this name, who may do nothing.
    #[must_use]
    pub fn new(subject: &str) -> Self {
        Self {
            subject: subject.into(),
            roles: Arc::default(),
            permissions: Permissions::default(),
            session: None,
            token: None,
            expires: None,
        }
    }

    /// The same caller in these roles.
    #[must_use]
    pub fn with_roles(mut self, roles: impl IntoIterator<Item = String>) -> Self {
        self.roles = roles.into_iter().collect();
        self
    }

    /// The same caller with these permissions and no others.
    #[must_use]
    pub fn with_permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// The session that the token belongs to.
    #[must_use]
    pub fn with_session(mut self, session: &str) -> Self {
        self.session = Some(session.into());
        self
    }

    /// The id of the token and the moment from which on it is worth nothing.
    #[must_use]
    pub fn with_token(mut self, id: &str, expires: Timestamp) -> Self {
        (self.token, self.expires) = (Some(id.into()), Some(expires));
        self
    }

    /// Who it is: the `sub` of the token.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The roles the token says.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// What these roles permit.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// The session that the token belongs to, where it belongs to one.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// The id of the token, where it has one.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// From when on the token is worth nothing.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Whether the caller has this role itself; what another role inherits from it does not count.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }

    /// Whether the caller has this permission.
    #[must_use]
    pub fn may(&self, permission: &str) -> bool {
        self.permissions.contains(permission)
    }

    /// Whether the caller may touch what belongs to `owner`: it is the caller's own, or the permission lets touch
    /// everybody's. The check that a route cannot make, since only the handler knows whose it is.
    #[must_use]
    pub fn may_touch(&self, owner: &str, permission: &str) -> bool {
        self.subject() == owner || self.may(permission)
    }
}
