//! Who may ask what: every route has a [`Rule`], and a caller is recognised by the token that a request brings.
//!
//! [`Routes`] takes no route without a rule. A guard runs before anything of the request is read: a route that is not
//! [`Rule::Public`] asks the service's [`Authenticate`](mainstay_auth::Authenticate) who brings the token in
//! `Authorization: Bearer …`, and hands the [`Caller`] on to the handler.
//!
//! - Whatever is wrong with a token is answered alike: 401, with no word on what it is.
//! - A caller who is known and may not: 403.
//! - Tokens that cannot be judged now: 503 with `Retry-After`.
//! - A public route looks at no token at all: a bad one does no harm there, a good one no good.
//! - Whether a caller may touch this very record, only the handler knows: [`Caller::must_own`].
//!
//! Tokens in a header are not sent by a browser on its own, so requests cannot be forged by another page: there is
//! nothing like a CSRF token, and no cookie.

mod caller;
mod guard;
mod routes;
mod rule;
mod token;

pub use caller::Caller;
pub use routes::{RouteEntry, Routes};
pub use rule::Rule;

pub(crate) use guard::recognise;
pub(crate) use routes::{describe, operations};
