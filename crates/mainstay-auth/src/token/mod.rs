//! Tokens that say who calls: JSON Web Tokens (RFC 7519), made and judged by the rules of RFC 8725.
//!
//! # Promise
//! - A token passes only if it is signed by a known key with the one algorithm this key is pinned to. What the header
//!   says chooses neither the algorithm nor where keys come from.
//! - A token passes only with `exp`, `iss`, `aud` and `sub` of the right types and values, within its time, and valid
//!   for no longer than allowed; each name stands in header and claims once; every other claim that is read
//!   (`nbf`, `iat`, `jti`, `sid`, `roles`) has its type.
//! - No input panics, and none is longer than 8 KiB.
//! - A caller learns that a token is not valid, never why: the [`Reason`] is for the log and the metrics.
//! - Keys of an issuer elsewhere are fetched at most once per cooldown on behalf of tokens, however many made-up ids
//!   those name, and one fetch at a time; fetches by the clock come on top. Known keys stay in use while
//!   the issuer does not answer.
//!
//! # Not promised
//! - That a token is worth nothing before it expires: that is what [`Revocations`](crate::Revocations) are for.
//! - Encrypted tokens (JWE), nested ones, algorithms of the sender's choice.
//! - That all claims are read: those without a meaning here are only looked at for names that stand there twice.
//!
//! # If the store is down
//! Keys here need none. With keys elsewhere, tokens by known keys pass for up to a day; one by an unknown key is
//! [`Error::Unavailable`] while the issuer does not answer.
//!
//! # Defaults
//! Leeway 30 s (at most 60 s), lifetime at most an hour; keys elsewhere every 5 min, after an unknown id at most every
//! 30 s, 256 KiB, 3 s.
//!
//! # Metrics
//! - `auth_tokens_checked_total{result}`: `ok`, `unavailable`, or the [`Reason`].
//! - `auth_key_fetches_total{result}`: `ok`, `error`.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use std::time::Duration;
//!
//! use mainstay_auth::token::{IssueOptions, Issuer, Key, Keys, NewClaims, Verifier, VerifyOptions};
//! use mainstay_core::config::JwtAlgorithm::HS256;
//! use mainstay_core::metrics::Metrics;
//! use mainstay_core::secret::Secret;
//! use mainstay_core::time::Clock;
//!
//! let keys = Keys::signing(Key::secret(HS256, &Secret::from("a secret of thirty-two bytes or more"))?)?;
//! let options = IssueOptions {
//!     issuer: "https://issuer.example".to_owned(),
//!     audience: "orders".to_owned(),
//!     lifetime: Duration::from_secs(900),
//! };
//! let issuer = Issuer::new(&keys, options, Clock::system())?;
//! let options = VerifyOptions::new("https://issuer.example", "orders");
//! let verifier = Verifier::new(keys, options, &Metrics::new(), Clock::system())?;
//!
//! let issued = issuer.issue(&NewClaims { subject: "user-1".to_owned(), ..NewClaims::default() }).unwrap();
//! let claims = verifier.verify(issued.token.expose()).await.unwrap();
//! assert_eq!(claims.subject, "user-1");
//! assert!(verifier.verify("eyJhbGciOiJub25lIn0.e30.").await.is_err());
//! # Ok::<(), mainstay_auth::token::KeyError>(()) }).unwrap();
//! ```

mod claims;
mod der;
mod error;
mod issue;
mod jwk;
mod key;
mod meters;
mod remote;
mod ring;
mod scheme;
mod strict;
mod verify;

pub use claims::Claims;
pub use error::{Error, KeyError, Reason};
pub use issue::{IssueOptions, Issued, Issuer, NewClaims};
pub use key::Key;
pub use remote::{FetchKeys, MAX_SET, RemoteKeys, RemoteOptions};
pub use ring::{Jwks, Keys};
pub use verify::{KeySource, Verifier, VerifyOptions};
