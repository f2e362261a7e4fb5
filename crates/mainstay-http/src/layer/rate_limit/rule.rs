use std::fmt;
use std::sync::Arc;

use axum::extract::Request;
use mainstay_core::key::Key;
use mainstay_core::rate_limit::Quota;

use super::RateLimitFields;
use crate::TrustedProxies;

/// Whom a [`RateLimitLayer`](super::RateLimitLayer) limits, and to how much.
///
/// ```
/// use mainstay_core::rate_limit::Quota;
/// use mainstay_http::{RateLimitRule, TrustedProxies};
///
/// let rule = RateLimitRule::per_client(Quota::per_minute(100).named("api"))
///     .and(Quota::per_second(10).named("burst"))
///     .trusting(TrustedProxies::parse(["10.0.0.0/8"])?);
/// # Ok::<(), mainstay_http::InvalidNetwork>(())
/// ```
#[derive(Clone)]
pub struct RateLimitRule {
    pub(super) quotas: Vec<Quota>,
    pub(super) fields: RateLimitFields,
    proxies: TrustedProxies,
    caller: Option<Arc<Caller>>,
}

type Caller = dyn Fn(&Request) -> Option<String> + Send + Sync;

impl RateLimitRule {
    /// `quota` for each [`Client`](crate::Client). Answers show its name: give each policy of a service
    /// one of its own.
    #[must_use]
    pub fn per_client(quota: Quota) -> Self {
        let (fields, proxies) = (RateLimitFields::default(), TrustedProxies::default());
        Self { quotas: vec![quota], fields, proxies, caller: None }
    }

    /// A further quota. A request passes if all of them allow it, and counts against none if one does not.
    #[must_use]
    pub fn and(mut self, quota: Quota) -> Self {
        self.quotas.push(quota);
        self
    }

    /// Whose word is taken about where a request comes from. Nobody's, if not set.
    #[must_use]
    pub fn trusting(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Counts per caller that `name` recognizes, a user say. Whom it does not know (`None`), and a name too
    /// long for a key, counts as the client's address. What a request merely claims must be verified
    /// first: a new name is a new quota.
    #[must_use]
    pub fn keyed_by(mut self, name: impl Fn(&Request) -> Option<String> + Send + Sync + 'static) -> Self {
        self.caller = Some(Arc::new(name));
        self
    }

    /// In which fields answers tell where the client stands.
    #[must_use]
    pub fn fields(mut self, fields: RateLimitFields) -> Self {
        self.fields = fields;
        self
    }

    /// The limiter's key. The prefixes keep callers with the name of an address from counting as it.
    pub(crate) fn key(&self, request: &Request) -> String {
        let caller =
            self.caller.as_ref().and_then(|caller| caller(request)).map(|name| format!("caller:{name}"));
        caller
            .filter(|key| Key::new(key).is_ok())
            .unwrap_or_else(|| format!("client:{}", self.proxies.client(request)))
    }
}

impl fmt::Debug for RateLimitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitRule")
            .field("quotas", &self.quotas)
            .field("fields", &self.fields)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}
