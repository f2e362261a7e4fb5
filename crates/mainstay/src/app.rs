use std::fmt;
use std::sync::Arc;

use mainstay_auth::password::Passwords;
use mainstay_auth::revocation::Revocations;
use mainstay_auth::seal::Sealer;
use mainstay_auth::session::Sessions;
use mainstay_auth::token::Issuer;
use mainstay_client::{HttpClient, Url};
use mainstay_core::breaker::{Breaker, Breakers};
use mainstay_core::cache::Cache;
use mainstay_core::config::{self, Config};
use mainstay_core::container::Container;
use mainstay_core::event::Events;
use mainstay_core::health::Health;
use mainstay_core::lifecycle::Lifecycle;
use mainstay_core::lock::{self, Locks};
use mainstay_core::metrics::Metrics;
use mainstay_core::pipeline::Pipeline;
use mainstay_core::rate_limit::RateLimiter;
use mainstay_http::endpoint::Info;
use mainstay_http::{EventStreams, RateLimitLayer, TrustedProxies};
use mainstay_redis::Redis;
use mainstay_sql::Database;

use crate::wiring::{self, Auth, Primitives, Resilience, Storage};
use crate::{Builder, StartError};

/// A started app: everything a service leans on. Cheap to clone; clones are the same app.
///
/// What one app holds, another does not see. [`Mainstay::serve`] stops it in order; dropping the last
/// clone without that cancels its background tasks.
#[derive(Clone)]
pub struct Mainstay(pub(crate) Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) container: Container,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) storage: Option<Storage>,
    pub(crate) primitives: Primitives,
    pub(crate) resilience: Resilience,
    pub(crate) auth: Auth,
    pub(crate) info: Info,
}

impl Mainstay {
    /// Begins an app. `name` is what logs, metrics and `SERVICE_NAME`'s default say; `version` is the
    /// service's own.
    #[must_use]
    pub fn builder(name: &'static str, version: &'static str) -> Builder {
        Builder::new(name, version)
    }

    /// Starts an app from files and environment with nothing of its own.
    ///
    /// # Errors
    /// [`StartError`] says what to mend.
    pub async fn from_env() -> Result<Self, StartError> {
        Self::builder("mainstay", env!("CARGO_PKG_VERSION")).start().await
    }

    /// The configuration: read, watch, update.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The metrics of this app.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The health checks of this app.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// The cache of this service.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.0.primitives.cache
    }

    /// Locks and semaphores by name.
    #[must_use]
    pub fn locks(&self) -> &Locks {
        &self.0.primitives.locks
    }

    /// The lock of this name, to be acquired: short for `locks().lock(key)`.
    pub fn lock(&self, key: impl Into<String>) -> lock::Request {
        self.locks().lock(key)
    }

    /// The rate limiter of this service.
    #[must_use]
    pub fn rate_limiter(&self) -> &RateLimiter {
        &self.0.primitives.rate_limiter
    }

    /// The layer that holds each client to `RATE_LIMIT_*`, for the routes that should be: the limits and
    /// `TRUSTED_PROXIES` change while the service runs. Every layer of one app counts together.
    ///
    /// Give it to `Router::route_layer`, so that only requests for a route count.
    #[must_use]
    pub fn client_rate_limit(&self) -> RateLimitLayer {
        self.0.primitives.client_limit.clone()
    }

    /// The proxies whose word about their callers is taken: `TRUSTED_PROXIES` as of now.
    #[must_use]
    pub fn trusted_proxies(&self) -> TrustedProxies {
        wiring::trusted_proxies(&self.0.config.get::<config::RateLimit>())
    }

    /// The sessions of this service's users.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.0.auth.sessions
    }

    /// What is revoked before it expires.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.0.auth.revocations
    }

    /// Hashing and checking of passwords.
    #[must_use]
    pub fn passwords(&self) -> &Passwords {
        &self.0.auth.passwords
    }

    /// Issues tokens, where [`Builder::sign_in`] was said.
    #[must_use]
    pub fn issuer(&self) -> Option<&Issuer> {
        self.0.auth.issuer.as_ref()
    }

    /// Seals values, where [`Builder::encryption`] was said.
    #[must_use]
    pub fn sealer(&self) -> Option<&Sealer> {
        self.0.auth.sealer.as_ref()
    }

    /// The circuit breakers of this instance.
    #[must_use]
    pub fn breakers(&self) -> &Breakers {
        &self.0.resilience.breakers
    }

    /// The circuit breaker of this name: the one that [`Builder::breaker`] declared, or else one with the default
    /// policy, made when it is first asked for.
    ///
    /// # Panics
    /// If the name is not 1 to 64 of `[a-z0-9._-]`.
    #[must_use]
    pub fn breaker(&self, name: &'static str) -> Breaker {
        self.0.resilience.breakers.named(name)
    }

    /// The pipeline that [`Builder::pipeline`] declared.
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn pipeline(&self, name: &str) -> Pipeline {
        let declared = self.0.resilience.pipelines.get(name);
        declared.unwrap_or_else(|| panic!("no pipeline {name} was declared: Builder::pipeline does")).clone()
    }

    /// A client of a service that answers at these endpoints, through the pipeline that was declared under this name.
    ///
    /// # Errors
    /// As [`HttpClient::new`].
    ///
    /// # Panics
    /// As [`Mainstay::pipeline`].
    pub fn http_client(
        &self,
        pipeline: &str,
        endpoints: &[Url],
        options: mainstay_client::Options,
    ) -> Result<HttpClient, mainstay_client::Error> {
        HttpClient::new(self.pipeline(pipeline), endpoints, options, self.breakers(), self.metrics())
    }

    /// The event bus.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.0.primitives.bus.events
    }

    /// Streams of events to browsers, bounded by `EVENTS_MAX_STREAMS`; they end with the service.
    #[must_use]
    pub fn event_streams(&self) -> &EventStreams {
        &self.0.primitives.bus.streams
    }

    /// The connection that cache, locks and limits share, where Redis is configured: for values of the service's own,
    /// such as those of a [`FencedStore`](mainstay_redis::fence::FencedStore).
    #[must_use]
    pub fn redis(&self) -> Option<&Redis> {
        self.0.primitives.redis.as_ref()
    }

    /// The components built from the service's constructors.
    #[must_use]
    pub fn container(&self) -> &Container {
        &self.0.container
    }

    /// The phases of this app; hooks for the shutdown.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.0.lifecycle
    }

    /// The database, where the builder was given one.
    #[must_use]
    pub fn database(&self) -> Option<&Database> {
        self.0.storage.as_ref().map(|storage| &storage.database)
    }
}

impl fmt::Debug for Mainstay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mainstay").field("service", &self.0.info.service).finish_non_exhaustive()
    }
}
