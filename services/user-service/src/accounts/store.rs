//! Where passwords are kept: the contract.

use async_trait::async_trait;

use crate::users::{Error, Role, User};

/// What signing in needs to know of a user.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) role: Role,
    pub(crate) version: i64,
    /// The PHC text; `None` for who has no password and cannot sign in.
    pub(crate) password: Option<String>,
}

/// A hash is not a secret like a password, and still nothing for a log.
impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("id", &self.id).field("role", &self.role).finish_non_exhaustive()
    }
}

#[async_trait]
pub(crate) trait AccountStore: Send + Sync {
    /// Creates a user who can sign in, and announces it: both or neither.
    ///
    /// # Errors
    /// [`Error::EmailTaken`].
    async fn register(&self, user: User, password: &str) -> Result<User, Error>;

    /// The account with this address, in whatever case; nobody who was deleted.
    async fn by_email(&self, email: &str) -> Result<Option<Account>, Error>;

    /// The account of this user; nobody who was deleted.
    async fn by_id(&self, id: &str) -> Result<Option<Account>, Error>;

    /// Replaces the password if it still is `before`. Answers whether it was.
    async fn set_password(&self, id: &str, before: Option<&str>, password: &str) -> Result<bool, Error>;

    /// Whether any user in this role can sign in.
    async fn has(&self, role: Role) -> Result<bool, Error>;
}
