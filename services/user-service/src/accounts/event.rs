//! What others learn of accounts: who, when and in which session; never an address, a token or a password.
//!
//! Not `user.*`: who follows the changes of users is not told when they sign in.

use serde::{Deserialize, Serialize};

/// A user signed in.
pub(crate) const SIGNED_IN: &str = "account.signed_in";
/// Somebody tried with a wrong password.
pub(crate) const REFUSED: &str = "account.refused";
/// A session was ended by its user.
pub(crate) const SIGNED_OUT: &str = "account.signed_out";
/// A password was changed, and all sessions were ended.
pub(crate) const PASSWORD_CHANGED: &str = "account.password_changed";
/// A refresh token was used twice: somebody else has it, and the session was ended.
pub(crate) const TOKEN_REUSED: &str = "account.token_reused";

/// All of them.
pub(crate) const ALL: &str = "account.*";

/// The data of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountEvent {
    /// The user's.
    pub(crate) id: String,
    /// Of the user at that moment, which puts it in its place in the trail.
    pub(crate) version: i64,
}
