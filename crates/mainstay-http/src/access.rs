//! Who may see what a service knows of itself, and change it.
//!
//! Sensitive endpoints ask for a token with the permission [`READ`] (`GET`) or [`WRITE`] (all else), and answer one
//! caller without: a developer on their own machine, in
//! development. That takes all of: `APP_ENV=development`, a listener bound to a loopback address, a
//! `Host` that is a loopback name (so that a web page cannot reach them by DNS rebinding), no `Origin` of
//! another site and no word of the browser that a page of one asks (so that a web page cannot post to them
//! either), and no sign of a proxy (whose clients may be anywhere).

use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Uri, Version, header};
use mainstay_auth::{Authenticate, Principal};

use crate::auth::recognise;
use crate::{Connection, Problem};

/// The permission to see.
pub const READ: &str = "mainstay:read";
/// The permission to change.
pub const WRITE: &str = "mainstay:write";

/// The access rule of the sensitive endpoints.
#[derive(Clone)]
pub struct Access {
    development: bool,
    authenticate: Option<Arc<dyn Authenticate>>,
}

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Visitor {
    /// The developer at the machine.
    Developer,
    /// Somebody with the permission.
    Known(Principal),
}

impl fmt::Display for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Developer => f.write_str("developer"),
            Self::Known(principal) => f.write_str(principal.subject()),
        }
    }
}

impl Access {
    /// `development` turns the loopback exception on.
    #[must_use]
    pub fn new(development: bool) -> Self {
        Self { development, authenticate: None }
    }

    /// The same, which knows callers by their tokens.
    #[must_use]
    pub fn known_by(self, authenticate: Option<Arc<dyn Authenticate>>) -> Self {
        Self { authenticate, ..self }
    }

    /// Whether this request may see sensitive content.
    pub async fn allows(&self, request: &Parts) -> bool {
        self.exempts(request) || self.known(READ, &request.headers).await.is_ok()
    }

    /// Passes a request that may see or change what it asks for.
    ///
    /// # Errors
    /// `401`, `403` or `503`, ready to be returned.
    pub(crate) async fn check(&self, request: &Parts) -> Result<Visitor, Problem> {
        if self.exempts(request) {
            return Ok(Visitor::Developer);
        }
        let reads = [Method::GET, Method::HEAD].contains(&request.method);
        self.known(if reads { READ } else { WRITE }, &request.headers).await.map(Visitor::Known)
    }

    async fn known(&self, permission: &str, headers: &HeaderMap) -> Result<Principal, Problem> {
        let principal = recognise(self.authenticate.as_deref(), headers).await?;
        if principal.may(permission) { Ok(principal) } else { Err(Problem::forbidden()) }
    }

    fn exempts(&self, request: &Parts) -> bool {
        let headers = &request.headers;
        let bound_to_loopback = request
            .extensions
            .get::<Connection>()
            .is_some_and(|connection| connection.bound.ip().is_loopback());
        self.development
            && bound_to_loopback
            && names_loopback(headers, &request.uri)
            && same_site(headers)
            && !asked_by_another_page(headers)
            && !forwarded(headers)
            // What nginx speaks to a service if nobody says otherwise, with its own loopback name for host and no
            // word of whom it speaks for. No browser does.
            && request.version > Version::HTTP_10
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("development", &self.development).finish_non_exhaustive()
    }
}

/// Every name the request gives for this host is a loopback name, and there is at least one.
fn names_loopback(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut names = headers
        .get_all(header::HOST)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .chain(uri.authority().map(http::uri::Authority::as_str))
        .peekable();
    names.peek().is_some() && names.all(is_loopback_name)
}

fn same_site(headers: &HeaderMap) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        origin.split_once("://").is_some_and(|(_, authority)| is_loopback_name(authority))
    })
}

/// The browser says that a page of another site asks, and not a person who followed a link.
fn asked_by_another_page(headers: &HeaderMap) -> bool {
    let says = |name: &str, word: &str| headers.get(name).is_some_and(|value| value == word);
    says("sec-fetch-site", "cross-site") && !says("sec-fetch-mode", "navigate")
}

fn forwarded(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// `localhost`, `127.0.0.1` or `[::1]`, with or without a port.
fn is_loopback_name(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    host.eq_ignore_ascii_case("localhost") || host == "127.0.0.1" || host == "[::1]"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn request(bound: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut builder = http::Request::builder().uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (mut parts, ()) = builder.body(()).unwrap().into_parts();
        let bound: SocketAddr = bound.parse().unwrap();
        parts.extensions.insert(Connection { peer: bound, bound });
        parts
    }

    #[test]
    fn a_developer_on_loopback_is_let_in() {
        for host in ["localhost:3000", "LOCALHOST", "127.0.0.1:3000", "[::1]:3000"] {
            assert!(Access::new(true).exempts(&request("127.0.0.1:3000", "/", &[("host", host)])), "{host}");
        }
        let with_origin = [("host", "localhost:3000"), ("origin", "http://localhost:3000")];
        assert!(Access::new(true).exempts(&request("127.0.0.1:3000", "/", &with_origin)));
    }

    #[test]
    fn production_lets_nobody_in_without_a_token() {
        let parts = request("127.0.0.1:3000", "/", &[("host", "localhost")]);
        assert!(!Access::new(false).exempts(&parts));
    }

    #[test]
    fn a_listener_open_to_the_network_lets_nobody_in_without_a_token() {
        let parts = request("0.0.0.0:3000", "/", &[("host", "localhost")]);
        assert!(!Access::new(true).exempts(&parts));
    }

    #[test]
    fn another_name_for_this_host_is_refused() {
        let hosts = [
            "evil.example",
            "localhost.evil.example",
            "localhost@evil.example",
            "127.0.0.1.nip.io",
            "",
            "a b",
        ];
        for host in hosts {
            assert!(!Access::new(true).exempts(&request("127.0.0.1:1", "/", &[("host", host)])), "{host}");
        }
        assert!(!Access::new(true).exempts(&request("127.0.0.1:1", "/", &[])), "no host at all");
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(!Access::new(true).exempts(&request("127.0.0.1:1", "/", &two)));
        let absolute = request("127.0.0.1:1", "http://evil.example/", &[("host", "localhost")]);
        assert!(!Access::new(true).exempts(&absolute));
    }

    #[test]
    fn whoever_comes_through_a_proxy_is_refused() {
        for proxy in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
            let parts = request("127.0.0.1:1", "/", &[("host", "localhost"), (proxy, "10.0.0.1")]);
            assert!(!Access::new(true).exempts(&parts), "{proxy}");
        }
    }

    #[test]
    fn what_comes_as_a_proxy_speaks_by_default_is_refused() {
        let mut parts = request("127.0.0.1:1", "/", &[("host", "localhost")]);
        parts.version = Version::HTTP_10;
        assert!(!Access::new(true).exempts(&parts));
        for version in [Version::HTTP_11, Version::HTTP_2] {
            parts.version = version;
            assert!(Access::new(true).exempts(&parts), "{version:?}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        for origin in ["http://evil.example", "null", "https://localhost.evil.example", "localhost"] {
            let parts = request("127.0.0.1:1", "/", &[("host", "localhost"), ("origin", origin)]);
            assert!(!Access::new(true).exempts(&parts), "{origin}");
        }
    }

    #[test]
    fn what_another_page_asks_is_refused_and_a_link_followed_is_not() {
        let asks = |mode| [("host", "localhost"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode)];
        assert!(!Access::new(true).exempts(&request("127.0.0.1:1", "/", &asks("no-cors"))));
        assert!(Access::new(true).exempts(&request("127.0.0.1:1", "/", &asks("navigate"))));
    }
}
