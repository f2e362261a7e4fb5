//! The user and the checked changes to one.

use jiff::Timestamp;
use mainstay::openapi::{ToSchema, utoipa};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A user as clients see it. The JSON is camelCase with RFC 3339 times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    /// UUIDv7 in its usual form, so ids sort by time of creation.
    pub(crate) id: String,
    /// As given, except that the domain is in lower case.
    pub(crate) email: String,
    pub(crate) name: String,
    /// E.164, such as `+41441234567`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) phone: Option<String>,
    pub(crate) role: Role,
    /// Microsecond precision, which is what the database keeps.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) updated_at: Timestamp,
    /// 1 at creation, one more with each change; the ETag is made of it.
    pub(crate) version: i64,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    #[default]
    User,
    Admin,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::User, Self::Admin].into_iter().find(|role| role.as_str() == text)
    }
}

/// A user to be created; only [`NewUserInput::check`](super::NewUserInput::check) makes one from a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NewUser {
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) phone: Option<String>,
    pub(crate) role: Role,
}

impl NewUser {
    /// Gives it an id and a birthday.
    pub(crate) fn into_user(self) -> User {
        let now = now();
        User {
            id: Uuid::now_v7().to_string(),
            email: self.email,
            name: self.name,
            phone: self.phone,
            role: self.role,
            created_at: now,
            updated_at: now,
            version: 1,
        }
    }
}

/// A change to a user; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserPatch {
    pub(crate) email: Option<String>,
    pub(crate) name: Option<String>,
    /// `Some(None)` removes the number.
    pub(crate) phone: Option<Option<String>>,
    pub(crate) role: Option<Role>,
}

impl UserPatch {
    /// The changed user at its next version, or an equal one if nothing changes.
    pub(crate) fn apply(&self, before: &User) -> User {
        let mut after = before.clone();
        after.email.clone_from(self.email.as_ref().unwrap_or(&before.email));
        after.name.clone_from(self.name.as_ref().unwrap_or(&before.name));
        after.phone.clone_from(self.phone.as_ref().unwrap_or(&before.phone));
        after.role = self.role.unwrap_or(before.role);
        if after != *before {
            after.version += 1;
            // The wall clock may step back; a change never looks older than what it changed.
            after.updated_at = now().max(before.updated_at);
        }
        after
    }
}

/// What a patch did to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) before: User,
    pub(crate) after: User,
}

impl Change {
    /// Names of the fields that differ, as clients know them; empty if the patch changed nothing.
    pub(crate) fn fields(&self) -> Vec<&'static str> {
        let (before, after) = (&self.before, &self.after);
        let fields = [
            ("email", before.email != after.email),
            ("name", before.name != after.name),
            ("phone", before.phone != after.phone),
            ("role", before.role != after.role),
        ];
        fields.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

/// Now, at the precision the database keeps.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond())
        .expect("a timestamp without its nanoseconds is in range")
}
