use std::sync::Arc;
use std::time::Duration;

use mainstay_core::cache::{self, Cache};
use mainstay_core::codec::Codec;
use mainstay_core::config::{self, CacheCodec, CacheDegrade, Config, RateLimitOutage};
use mainstay_core::container;
use mainstay_core::event::Events;
use mainstay_core::lifecycle::{Lifecycle, Step};
use mainstay_core::lock::{self, Locks};
use mainstay_core::metrics::Metrics;
use mainstay_core::rate_limit::{self, Outage, Quota, RateLimiter};
use mainstay_core::store::Degrade;
use mainstay_core::task::TaskGroup;
use mainstay_core::time::Clock;
use mainstay_http::{RateLimitLayer, RateLimitRule, TrustedProxies};
use mainstay_redis::Redis;
use mainstay_redis::cache::RedisCache;
use mainstay_redis::lock::RedisLocks;
use mainstay_redis::rate_limit::RedisLimits;

use super::Storage;
use super::events::Bus;
use super::redis::{close_with, namespace};

/// For a primitive to let go of what it holds.
pub(super) const LET_GO: Duration = Duration::from_secs(5);

/// What many machines share, or one process has for itself.
pub(crate) struct Primitives {
    pub(crate) cache: Cache,
    /// Where revocations lie: beside the cache where that is shared, else apart, where nothing crowds them out.
    pub(crate) kept: Arc<dyn cache::Store>,
    pub(crate) locks: Locks,
    pub(crate) rate_limiter: RateLimiter,
    pub(crate) bus: Bus,
    /// What one client may ask of the service's routes.
    pub(crate) client_limit: RateLimitLayer,
    /// What cache, locks and limits share, where it is configured.
    pub(crate) redis: Option<Redis>,
}

impl Primitives {
    /// All four: on Redis where there is one, else in this process, events then in the database where there is one.
    pub(crate) fn new(
        config: &Config,
        metrics: &Metrics,
        storage: Option<&Storage>,
        redis: Option<&Redis>,
    ) -> Self {
        let clock = Clock::system();
        let (kept, cache, locks, rate_limiter): (Arc<dyn cache::Store>, _, _, _) = match redis {
            None => (
                Arc::new(cache::Memory::new(&cache::Options::default(), clock.clone())),
                Cache::in_memory(cache_options(config), metrics, clock.clone()),
                Locks::in_memory(lock_options(config), metrics, clock.clone()),
                RateLimiter::in_memory(limit_options(config), metrics, clock.clone()),
            ),
            Some(redis) => {
                let space = namespace(config);
                let owner = config.get::<config::Identity>().instance_id.clone();
                let near =
                    RedisCache::new(redis.clone(), &space, cache_options(config), metrics, clock.clone());
                let held = RedisLocks::new(redis.clone(), &space, &owner);
                let limits = RedisLimits::new(redis.clone(), &space);
                let near = Arc::new(near);
                (
                    Arc::clone(&near) as Arc<dyn cache::Store>,
                    Cache::new(near, cache_options(config), metrics, clock.clone()),
                    Locks::new(Arc::new(held), lock_options(config), metrics, clock.clone()),
                    RateLimiter::new(Arc::new(limits), limit_options(config), metrics, clock.clone()),
                )
            }
        };
        Self {
            cache,
            kept,
            locks,
            bus: Bus::open(config, metrics, storage, redis, clock),
            client_limit: RateLimitLayer::new(
                rate_limiter.clone(),
                client_rule(&config.get::<config::RateLimit>()),
            ),
            rate_limiter,
            redis: redis.cloned(),
        }
    }

    /// Makes them what a constructor can ask for.
    pub(crate) fn provide(&self, bindings: &mut container::Builder) {
        bindings.value(self.cache.clone());
        bindings.value(self.locks.clone());
        bindings.value(self.rate_limiter.clone());
        bindings.value(Events::clone(&self.bus.events));
        bindings.value(self.bus.streams.clone());
    }

    /// Carries changed limits to the layer that counts clients.
    pub(crate) fn follow(&self, tasks: &TaskGroup, config: &Config) {
        let (mut changes, limit) = (config.watch::<config::RateLimit>(), self.client_limit.clone());
        tasks.spawn_until_cancelled("rate limits", async move {
            while let Some(settings) = changes.changed().await {
                limit.update(client_rule(&settings));
            }
        });
    }

    /// Hands cache and locks to the shutdown: they end after the components that lean on them, and before the
    /// connection that they lean on.
    pub(crate) fn stop_with(&self, lifecycle: &Lifecycle) {
        if let Some(redis) = &self.redis {
            close_with(redis, lifecycle);
        }
        self.bus.stop_with(lifecycle);
        let (cache, locks) = (self.cache.clone(), self.locks.clone());
        lifecycle.on(Step::StopComponents, "cache", LET_GO, async move || cache.stop(LET_GO).await);
        lifecycle.on(Step::StopComponents, "locks", LET_GO, async move || locks.stop(LET_GO).await);
    }
}

fn cache_options(config: &Config) -> cache::Options {
    let settings = config.get::<config::Cache>();
    let mut options = cache::Options::default();
    options.max_bytes = usize::try_from(settings.max_bytes).unwrap_or(usize::MAX);
    options.max_value_bytes = settings.max_value_bytes as usize;
    options.codec = match settings.codec {
        CacheCodec::MessagePack => Codec::MessagePack,
        _ => Codec::Json,
    };
    options.near_ttl = settings.near_ttl;
    options.compress_above = settings.compress_above as usize;
    options.schema = settings.schema;
    options.degrade = match settings.degrade {
        CacheDegrade::Refuse => Degrade::Refuse,
        _ => Degrade::Local,
    };
    options
}

fn lock_options(config: &Config) -> lock::Options {
    let settings = config.get::<config::Lock>();
    let mut options = lock::Options::default();
    options.ttl = settings.ttl;
    options.wait = settings.wait;
    options.max_hold = settings.max_hold;
    options
}

fn limit_options(config: &Config) -> rate_limit::Options {
    let settings = config.get::<config::RateLimit>();
    let mut options = rate_limit::Options::default();
    options.max_keys = settings.max_keys as usize;
    options.instances = settings.instances;
    options.on_outage = match settings.outage {
        RateLimitOutage::Deny => Outage::Deny,
        RateLimitOutage::Allow => Outage::Allow,
        _ => Outage::Local { share: None },
    };
    options
}

/// `RATE_LIMIT_*` and `TRUSTED_PROXIES` as a rule.
fn client_rule(settings: &config::RateLimit) -> RateLimitRule {
    RateLimitRule::per_client(Quota::new(settings.max_requests, settings.window).named("api"))
        .trusting(trusted_proxies(settings))
}

/// Whose word is taken about where a request comes from.
pub(crate) fn trusted_proxies(settings: &config::RateLimit) -> TrustedProxies {
    TrustedProxies::parse(&settings.trusted_proxies).expect("the configuration refuses what is no network")
}
