use std::time::Duration;

use axum::extract::Request;
use http::HeaderName;
use mainstay_core::rate_limit::Outage;

use crate::TrustedProxies;
use crate::layer::identity::Identity;

/// How many requests a [`ConcurrencyLayer`](super::ConcurrencyLayer) lets be in flight at once, and whose.
///
/// ```
/// use mainstay_core::rate_limit::Outage;
/// use mainstay_http::{ConcurrencyRule, TrustedProxies};
///
/// let rule = ConcurrencyRule::per_client("export", 2)
///     .trusting(TrustedProxies::parse(["10.0.0.0/8"])?)
///     .keyed_by_api_key(http::HeaderName::from_static("x-api-key"))
///     .instances(4)
///     .on_outage(Outage::Local { share: None });
/// # Ok::<(), mainstay_http::InvalidNetwork>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConcurrencyRule {
    pub(super) name: &'static str,
    pub(super) permits: u32,
    pub(super) ttl: Duration,
    pub(super) outage: Outage,
    instances: u32,
    identity: Identity,
    /// Or all requests count together.
    per_client: bool,
}

impl ConcurrencyRule {
    /// At most `permits` (1 to 10,000) requests at once, of all clients together. Rules of the same name share them.
    #[must_use]
    pub fn for_all(name: &'static str, permits: u32) -> Self {
        let (ttl, outage) = (Duration::from_secs(30), Outage::Local { share: None });
        let (identity, per_client) = (Identity::default(), false);
        Self { name, permits, ttl, outage, instances: 1, identity, per_client }
    }

    /// At most `permits` (1 to 10,000) requests of each [`Client`](crate::Client) at once.
    #[must_use]
    pub fn per_client(name: &'static str, permits: u32) -> Self {
        Self { per_client: true, ..Self::for_all(name, permits) }
    }

    /// Whose word is taken about where a request comes from. Nobody's, if not set.
    #[must_use]
    pub fn trusting(mut self, proxies: TrustedProxies) -> Self {
        self.identity.trust(proxies);
        self
    }

    /// Counts per caller, as [`RateLimitRule::keyed_by`](crate::RateLimitRule::keyed_by).
    #[must_use]
    pub fn keyed_by(self, name: impl Fn(&Request) -> Option<String> + Send + Sync + 'static) -> Self {
        self.identified(|identity| identity.add(name))
    }

    /// Counts per user, as [`RateLimitRule::keyed_by_user`](crate::RateLimitRule::keyed_by_user).
    #[must_use]
    pub fn keyed_by_user<T>(self, id: impl Fn(&T) -> String + Send + Sync + 'static) -> Self
    where
        T: Send + Sync + 'static,
    {
        self.identified(|identity| identity.add_user(id))
    }

    /// Counts per API key, as [`RateLimitRule::keyed_by_api_key`](crate::RateLimitRule::keyed_by_api_key).
    #[must_use]
    pub fn keyed_by_api_key(self, header: HeaderName) -> Self {
        self.identified(|identity| identity.add_api_key(header))
    }

    /// How long a request of a process that was killed still counts: 10 ms to 24 h, by default 30 s. While the
    /// process lives its leases are renewed.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// What happens while the lock store is away. By default `Local` with one part of the [`instances`](Self::instances).
    #[must_use]
    pub const fn on_outage(mut self, outage: Outage) -> Self {
        self.outage = outage;
        self
    }

    /// Number of processes that share the permits. By default 1.
    #[must_use]
    pub const fn instances(mut self, instances: u32) -> Self {
        self.instances = instances;
        self
    }

    /// What the locks call the permits that this request needs one of.
    pub(super) fn key(&self, request: &Request) -> String {
        if self.per_client {
            format!("in-flight:{}:{}", self.name, self.identity.of(request))
        } else {
            format!("in-flight:{}", self.name)
        }
    }

    pub(super) const fn is_per_client(&self) -> bool {
        self.per_client
    }

    /// How many this process may let in by itself, at least 1.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0..=permits")]
    pub(super) fn share(&self, share: Option<f64>) -> u32 {
        let even = 1.0 / f64::from(self.instances.max(1));
        let share = share.filter(|share| *share > 0.0 && *share <= 1.0).unwrap_or(even);
        ((f64::from(self.permits) * share).floor() as u32).max(1)
    }

    fn identified(mut self, change: impl FnOnce(&mut Identity)) -> Self {
        change(&mut self.identity);
        Self { per_client: true, ..self }
    }
}
