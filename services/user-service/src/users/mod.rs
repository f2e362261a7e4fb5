//! Users: what they are, what may be said about them, and where they are kept. Knows nothing of HTTP.
//!
//! [`service`] is the front door: it checks input and calls the [`repository`], a trait whose verbs are
//! whole decisions; [`sql`] is its one implementation for every database, and [announces](announcer) what a write did
//! as an [`event`] in the same transaction. Reads of one user are [`cached`]. A phone number is written
//! sealed, wherever it is written ([`vault`]).

mod announcer;
mod cached;
mod cursor;
mod error;
pub(crate) mod event;
mod input;
mod model;
mod repository;
mod service;
mod sql;
mod vault;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod promises;

pub(crate) use cursor::Cursor;
pub(crate) use error::{Error, FieldError};
pub(crate) use input::{NewUserInput, Problems, UserPatchInput, given, page_limit};
/// The rules of single fields.
pub(crate) mod check {
    pub(crate) use super::input::{email, name, phone};
}
pub(crate) use model::{Change, NewUser, Role, User, UserPatch, now};
pub(crate) use repository::{Created, Once, Page, Resealed, UserRepository};
pub(crate) use service::{Consequences, UserService};
pub(crate) use sql::{SqlUserRepository, email_key, role_of};
pub(crate) use vault::Vault;
