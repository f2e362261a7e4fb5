//! What others learn when a user changes: ids, versions and names of fields, never what is in them, so that
//! an event may be kept, logged and sent on.

use serde::{Deserialize, Serialize};

/// A user was created, at version 1.
pub(crate) const CREATED: &str = "user.created";
/// Fields of a user were changed.
pub(crate) const UPDATED: &str = "user.updated";
/// A user was deleted.
pub(crate) const DELETED: &str = "user.deleted";

/// The data of [`CREATED`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserCreated {
    pub(crate) id: String,
    pub(crate) version: i64,
}

/// The data of [`UPDATED`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserUpdated {
    pub(crate) id: String,
    /// After the change.
    pub(crate) version: i64,
    /// Names of the fields, as clients know them.
    pub(crate) changed: Vec<String>,
}

/// The data of [`DELETED`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserDeleted {
    pub(crate) id: String,
    /// The last one, which the deletion made.
    pub(crate) version: i64,
}
