//! `mainstay_redis::cache`: the contract and the bugs it convicts (`contract`), what is kept near (`coherence`),
//! histories of versions (`history`), several processes (`processes`), and faults (`faults`).

mod coherence;
mod contract;
mod faults;
mod history;
mod processes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_core::cache::{Cache, Options, Policy, Store, Ttl};
use mainstay_core::key::Key;
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::time::Clock;
use mainstay_redis::Redis;
use mainstay_redis::cache::RedisCache;
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::RedisServer;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Longest that a value may be used after another process changed it.
const BOUND: Duration = Duration::from_secs(3);

/// One process of a service, as far as the cache can tell: a connection, a store and a handle of its own.
struct Process {
    redis: Redis,
    store: Arc<RedisCache>,
    cache: Cache,
    metrics: Metrics,
}

impl Process {
    /// A patient one: on a busy machine an answer may take its time.
    async fn start(server: SocketAddr, namespace: &str) -> Self {
        Self::with(server, namespace, patient()).await
    }

    async fn with(server: SocketAddr, namespace: &str, options: Options) -> Self {
        Self::at(&format!("redis://{server}"), namespace, options).await
    }

    async fn at(url: &str, namespace: &str, options: Options) -> Self {
        let (metrics, clock) = (Metrics::new(), Clock::system());
        let redis = connect(url, &metrics, options.op_timeout * 4 / 5).await;
        let store = RedisCache::new(redis.clone(), namespace, options.clone(), &metrics, clock.clone());
        let store = Arc::new(store);
        let cache = Cache::new(Arc::clone(&store) as Arc<_>, options, &metrics, clock);
        Self { redis, store, cache, metrics }
    }

    /// What is found without asking the server.
    fn near(&self, key: &str) -> Option<u64> {
        let found = self.store.get(Key::new(key).unwrap()).now().ok()?.unwrap()?;
        found.value.decode::<u64>().unwrap()
    }

    /// Reads until what is read is near.
    async fn warm(&self, key: &str, value: u64) {
        let warm = async || {
            let _asked = self.cache.get::<u64>(key).await;
            self.near(key) == Some(value)
        };
        eventually_async("the value is near", 10 * SECOND, warm).await;
    }

    async fn get(&self, key: &str) -> Option<u64> {
        self.cache.get(key).await.unwrap()
    }

    async fn set(&self, key: &str, value: u64) {
        self.cache.set(key, &value, Ttl::hours(1)).await.unwrap();
    }

    /// The value of a series in the text that is exported.
    fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.render(Format::Prometheus);
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    fn near_hits(&self) -> f64 {
        self.metric("cache_near_hits_total")
    }
}

fn patient() -> Options {
    let mut options = Options::default();
    options.op_timeout = 10 * SECOND;
    options
}

async fn connect(url: &str, metrics: &Metrics, command_timeout: Duration) -> Redis {
    let mut options = mainstay_redis::Options::parse(url).unwrap();
    options.command_timeout = command_timeout;
    let redis = Redis::open(options, metrics, Clock::system());
    redis.ready(10 * SECOND).await.unwrap();
    redis
}

/// A namespace that no other part of the test has.
fn namespace() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Exactly this long, from first to last: no jitter, no early refresh.
fn exactly(ttl: impl Into<Ttl>) -> Policy {
    ttl.into().jitter(0.0).early_refresh(0.0)
}

/// How often a random test repeats, times `MAINSTAY_ROUNDS`.
fn rounds(base: usize) -> usize {
    std::env::var("MAINSTAY_ROUNDS").map_or(base, |times| base * times.parse::<usize>().expect("a number"))
}
