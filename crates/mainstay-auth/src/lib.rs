//! Sign-in: who calls, what they may do, and what is kept so that only this service reads it.
//!
//! A [`Principal`] is a caller that was recognised. What it was recognised by, an [`Authenticate`] knows; what it
//! may do, its [`Permissions`] say. Without a permission the answer is no.

mod authenticate;
mod authenticator;
pub mod password;
mod permission;
mod principal;
pub mod revocation;
pub mod role;
pub mod seal;
pub mod session;
pub mod token;

pub use authenticate::{Authenticate, Refused};
pub use authenticator::Authenticator;
pub use password::Passwords;
pub use permission::{InvalidPermission, Permission, Permissions};
pub use principal::Principal;
pub use revocation::Revocations;
pub use role::{RoleError, Roles};
pub use seal::Sealer;
