//! Whom a limit counts.

use std::fmt;
use std::sync::Arc;

use axum::extract::Request;
use http::HeaderName;
use sha2::{Digest, Sha256};

use crate::TrustedProxies;

/// Longest name of a caller, in bytes: what is put before it must fit into a key, too.
const MAX_NAME: usize = 1024;

type Caller = dyn Fn(&Request) -> Option<String> + Send + Sync;

/// The first of its ways that knows a caller names it; else its address does.
#[derive(Clone, Default)]
pub(super) struct Identity {
    proxies: TrustedProxies,
    callers: Vec<Arc<Caller>>,
}

impl Identity {
    pub(super) fn trust(&mut self, proxies: TrustedProxies) {
        self.proxies = proxies;
    }

    pub(super) fn add(&mut self, name: impl Fn(&Request) -> Option<String> + Send + Sync + 'static) {
        self.callers.push(Arc::new(move |request| Some(format!("caller:{}", name(request)?))));
    }

    pub(super) fn add_user<T>(&mut self, id: impl Fn(&T) -> String + Send + Sync + 'static)
    where
        T: Send + Sync + 'static,
    {
        self.callers.push(Arc::new(move |request| {
            request.extensions().get().map(|user| format!("user:{}", id(user)))
        }));
    }

    /// Only a digest of the key gets into stores, logs and lists.
    pub(super) fn add_api_key(&mut self, header: HeaderName) {
        self.callers.push(Arc::new(move |request| {
            let digest = Sha256::digest(request.headers().get(&header)?);
            Some(digest.iter().fold("key:".to_owned(), |name, byte| format!("{name}{byte:02x}")))
        }));
    }

    /// The prefixes keep callers with the name of an address from counting as it.
    pub(super) fn of(&self, request: &Request) -> String {
        let named =
            self.callers.iter().find_map(|caller| caller(request).filter(|name| name.len() <= MAX_NAME));
        named.unwrap_or_else(|| format!("client:{}", self.proxies.client(request)))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[derive(Clone)]
    struct User(&'static str);

    fn identity() -> Identity {
        let mut identity = Identity::default();
        identity.add_user(|user: &User| user.0.to_owned());
        identity.add_api_key(HeaderName::from_static("x-api-key"));
        identity
    }

    fn request(key: Option<&str>, user: Option<User>) -> Request {
        let mut request = Request::new(Body::empty());
        key.map(|key| request.headers_mut().insert("x-api-key", key.parse().unwrap()));
        user.map(|user| request.extensions_mut().insert(user));
        request
    }

    #[test]
    fn the_first_way_that_knows_a_caller_names_it() {
        let both = identity().of(&request(Some("secret"), Some(User("ada"))));
        assert_eq!(both, "user:ada");
        assert!(identity().of(&request(Some("secret"), None)).starts_with("key:"));
        assert_eq!(identity().of(&request(None, None)), "client:unknown");
        // A name like an address is not that address, nor is one too long to be a name.
        assert_eq!(identity().of(&request(None, Some(User("client:unknown")))), "user:client:unknown");
        let long: &'static str = "x".repeat(3_000).leak();
        assert_eq!(identity().of(&request(None, Some(User(long)))), "client:unknown");
    }

    #[test]
    fn an_api_key_is_told_by_its_digest_only() {
        let of = |key| identity().of(&request(Some(key), None));
        // SHA-256 of "abc", FIPS 180-4.
        assert_eq!(of("abc"), "key:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_ne!(of("abc"), of("abd"));
    }
}
