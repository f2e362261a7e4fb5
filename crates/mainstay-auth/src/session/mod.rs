//! Sessions: what a sign-in begins, a refresh token keeps going, and anybody entitled can end.
//!
//! A refresh token is 384 random bits without a meaning; of it no more than two SHA-256 are kept. It is good for one
//! refresh, which replaces it (RFC 9700, section 4.14.2).
//!
//! # Promise
//! - Of any number of requests that present one token, at once or one after the other, at most one goes on with
//!   the session.
//! - A token that comes back after it was replaced ends its session, with the last token and, where
//!   [revocations](Sessions::revoking) are given, the access tokens.
//! - Grace: a token that comes back within 10 s of being replaced by the next, and before that one is replaced, is
//!   refused with [`Error::Elsewhere`] and ends nothing: two tabs of one browser refresh at the same moment, or a
//!   client repeats a request whose answer it did not get. The first keeps the session; a client that lost the
//!   answer signs in again. Nobody gets a second token for one.
//! - A session is over when it was not refreshed for the idle time, or has lasted its lifetime.
//! - A session that was ended is gone from the store when the call returns.
//!
//! # Not promised
//! - That a thief who refreshes first is told from the owner: both are signed out as soon as the other one tries.
//! - Without [revocations](Sessions::revoking), that access tokens end with their session.
//!
//! # If the store is down
//! Nothing begins or goes on: [`Error::Unavailable`], and [`Error::Unknown`] where the change may have
//! happened. Access tokens that were issued stay good until they expire.
//!
//! # Defaults
//! Idle 14 days, lifetime 90 days, grace 10 s, 32 sessions of one subject, 5 s for an answer of the store.
//!
//! # Metrics
//! - `auth_session_refreshes_total{result}`: `ok`, `invalid`, `elsewhere`, `reused`, `unavailable`.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use std::sync::Arc;
//!
//! use mainstay_auth::session::{Error, MemorySessions, SessionOptions, Sessions};
//! use mainstay_core::metrics::Metrics;
//! use mainstay_core::time::Clock;
//!
//! let store = Arc::new(MemorySessions::new());
//! let sessions = Sessions::new(store, SessionOptions::default(), &Metrics::new(), Clock::system());
//! let opened = sessions.open("user-1", "Firefox on Linux").await?;
//! let refreshed = sessions.refresh(opened.refresh.expose()).await?;
//! assert_eq!(refreshed.subject, "user-1");
//! assert_eq!(sessions.refresh(opened.refresh.expose()).await.unwrap_err(), Error::Elsewhere);
//! assert_eq!(sessions.revoke_all("user-1").await?, 1);
//! # Ok::<(), Error>(()) }).unwrap();
//! ```

mod error;
mod memory;
mod sessions;
mod store;
mod token;

pub use error::Error;
pub use memory::MemorySessions;
pub use sessions::{Opened, Refreshed, SessionOptions, Sessions};
pub use store::{Bounds, Digest, NewSession, Rotated, Rotation, Session, SessionStore};
