//! Users: what they are, what may be said about them, and where they are kept. Knows nothing of HTTP.
//!
//! [`service`] is the front door: it checks input and calls the [`repository`], a trait whose verbs are
//! whole decisions; [`sql`] is its one implementation for every database.

mod cursor;
mod error;
mod input;
mod model;
mod repository;
mod service;
mod sql;

#[cfg(test)]
mod contract;

use mainstay::sql::{Migration, Migrations, idempotency};

pub(crate) use cursor::Cursor;
pub(crate) use error::{Error, FieldError};
pub(crate) use input::{NewUserInput, UserPatchInput};
pub(crate) use model::{NewUser, Role, User, UserPatch};
pub(crate) use repository::{Created, Once, Page, UserRepository};
pub(crate) use service::UserService;
pub(crate) use sql::SqlUserRepository;

/// The schema this module needs.
pub(crate) fn migrations() -> Migrations {
    Migrations::new([
        Migration::sql(1, "users", include_str!("../../migrations/0001_users.sql")),
        idempotency::migration(2),
    ])
}
