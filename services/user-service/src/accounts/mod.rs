//! Accounts: signing in as a user. Knows nothing of HTTP.
//!
//! [`service`] is the front door. A password is a column of its user that only [`store`] reads; sessions and tokens
//! are Mainstay's. Whatever ends a right ([`revoker`]) also ends the tokens that were issued under it.

mod administrator;
mod error;
pub(crate) mod event;
mod input;
mod revoker;
mod service;
mod sql;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use administrator::FirstAdministrator;
pub(crate) use error::Error;
pub(crate) use input::{LoginInput, PasswordInput, RefreshInput, RegisterInput};
pub(crate) use revoker::Revoker;
pub(crate) use service::{Accounts, Origin, Parts, Tokens, roles};
pub(crate) use sql::SqlAccountStore;
pub(crate) use store::AccountStore;
