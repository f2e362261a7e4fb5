use axum::extract::Request;
use http::HeaderName;
use mainstay_core::rate_limit::Quota;

use super::RateLimitFields;
use crate::TrustedProxies;
use crate::layer::identity::Identity;

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
#[derive(Debug, Clone)]
pub struct RateLimitRule {
    pub(super) quotas: Vec<Quota>,
    pub(super) fields: RateLimitFields,
    identity: Identity,
}

impl RateLimitRule {
    /// `quota` for each [`Client`](crate::Client). Answers show its name: give each policy of a service
    /// one of its own.
    #[must_use]
    pub fn per_client(quota: Quota) -> Self {
        Self { quotas: vec![quota], fields: RateLimitFields::default(), identity: Identity::default() }
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
        self.identity.trust(proxies);
        self
    }

    /// Counts per caller that `name` recognizes. Whom it does not know (`None`), and a name above 1 KiB, counts as the
    /// next way to be recognized says, and at last as the client's address. What a request merely claims must be
    /// verified first: a new name is a new quota.
    #[must_use]
    pub fn keyed_by(mut self, name: impl Fn(&Request) -> Option<String> + Send + Sync + 'static) -> Self {
        self.identity.add(name);
        self
    }

    /// Counts per user: `id` of the request's extension `T`, which a layer around this one put there when it had
    /// verified who asks. Else as [`keyed_by`](Self::keyed_by).
    #[must_use]
    pub fn keyed_by_user<T>(mut self, id: impl Fn(&T) -> String + Send + Sync + 'static) -> Self
    where
        T: Send + Sync + 'static,
    {
        self.identity.add_user(id);
        self
    }

    /// Counts per API key in this header, of which only a digest gets into stores and logs. Else as
    /// [`keyed_by`](Self::keyed_by). This does not say that the key is a right one: what does belongs around this layer.
    #[must_use]
    pub fn keyed_by_api_key(mut self, header: HeaderName) -> Self {
        self.identity.add_api_key(header);
        self
    }

    /// In which fields answers tell where the client stands.
    #[must_use]
    pub fn fields(mut self, fields: RateLimitFields) -> Self {
        self.fields = fields;
        self
    }

    /// The limiter's key.
    pub(crate) fn key(&self, request: &Request) -> String {
        self.identity.of(request)
    }
}
