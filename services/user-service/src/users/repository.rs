//! Where users are kept: the contract. Each verb is one atomic decision, and what it changed is published with it as
//! an [event](super::event): both or neither.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Change, Cursor, Error, User, UserPatch};

/// Names a request that may be repeated and must take effect once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Once {
    /// Method, route and caller.
    pub(crate) scope: String,
    /// The client's key, checked.
    pub(crate) key: String,
    /// What makes it the same request.
    pub(crate) fingerprint: String,
}

/// The outcome of a creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Created {
    /// The user as it was created.
    pub(crate) user: User,
    /// The request had taken effect before; this is its first answer.
    pub(crate) replayed: bool,
}

/// What [`UserRepository::reseal`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resealed {
    /// The last id it looked at; `None` if there was none.
    pub(crate) last: Option<String>,
    /// So many were sealed anew.
    pub(crate) changed: u64,
}

/// A page of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) items: Vec<User>,
    /// Present if there are more.
    pub(crate) next: Option<Cursor>,
}

#[async_trait]
pub(crate) trait UserRepository: Send + Sync {
    /// Keeps `user`. With `once`, the key and the user are kept in one transaction: a crash leaves both or
    /// neither, and a repetition answers the first user.
    ///
    /// # Errors
    /// [`Error::EmailTaken`]; [`Error::KeyReused`].
    async fn create(&self, user: User, once: Option<&Once>) -> Result<Created, Error>;

    /// The user, unless unknown or deleted.
    async fn get(&self, id: &str) -> Result<Option<User>, Error>;

    /// Up to `limit` users after `cursor`, oldest first. Nobody is skipped or repeated, whatever is
    /// created or deleted between two pages.
    async fn list(&self, limit: usize, cursor: Option<Cursor>) -> Result<Page, Error>;

    /// Applies `patch`, if the user is at `expected` version where one is given. A patch that changes
    /// nothing leaves the user as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`], [`Error::EmailTaken`].
    async fn update(&self, id: &str, patch: &UserPatch, expected: Option<i64>) -> Result<Change, Error>;

    /// Deletes softly: the row stays, nobody sees it, its e-mail address is free again. Answers the last
    /// version of the user, which the deletion made.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`].
    async fn delete(&self, id: &str, expected: Option<i64>) -> Result<User, Error>;

    /// Whether there is such a user, a deleted one included.
    async fn is_known(&self, id: &str) -> Result<bool, Error>;

    /// Removes for good up to `limit` users that were deleted before `deleted_before`, and answers their
    /// ids; fewer than `limit` means that none is left.
    async fn purge(&self, deleted_before: Timestamp, limit: usize) -> Result<Vec<String>, Error>;

    /// Who has this phone number, at most 100 of each key that may have sealed it.
    async fn by_phone(&self, phone: &str) -> Result<Vec<User>, Error>;

    /// Looks at up to `limit` users whose ids come after `after`, deleted ones included, and seals their phone numbers
    /// under the key of today. Whoever is changed at the same time is left to the change.
    async fn reseal(&self, after: &str, limit: usize) -> Result<Resealed, Error>;

    /// Whether there is no user, not even a deleted one.
    async fn is_empty(&self) -> Result<bool, Error>;
}
