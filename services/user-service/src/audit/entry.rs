use jiff::Timestamp;
use mainstay::openapi::{ToSchema, utoipa};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Place;

/// One thing that happened to a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEntry {
    /// Id of the event.
    pub(crate) id: Uuid,
    /// `user.created`, `user.updated`, `user.deleted`, or of the account: `account.signed_in`, `account.refused`,
    /// `account.signed_out`, `account.password_changed`, `account.token_reused`.
    pub(crate) event: String,
    /// When it happened, with microseconds.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// The version of the user that it made.
    pub(crate) version: i64,
    #[serde(flatten)]
    pub(crate) details: Details,
}

impl AuditEntry {
    pub(super) fn place(&self) -> Place {
        Place { version: self.version, event: self.id }
    }
}

/// What else an entry tells. Kept as one JSON object, so that more can be told without another column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Details {
    /// Names of the fields that changed; never what was or is in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) changed: Vec<String>,
}

/// A page of a user's trail, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditPage {
    pub(crate) items: Vec<AuditEntry>,
    /// Present if there are more.
    pub(crate) next: Option<Place>,
}
