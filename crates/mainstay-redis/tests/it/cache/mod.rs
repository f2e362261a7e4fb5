//! `mainstay_redis::cache`: the contract and the bugs it convicts (`contract`).

mod contract;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_core::cache::Options;
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::time::Clock;
use mainstay_redis::cache::RedisCache;
use mainstay_redis::{Address, Deployment, Redis};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// One process of a service, as far as the cache can tell: connection, store and counters of its own.
struct Process {
    redis: Redis,
    store: Arc<RedisCache>,
    metrics: Metrics,
}

impl Process {
    async fn start(server: SocketAddr, namespace: &str) -> Self {
        Self::with(server, namespace, Options::default(), |source| source).await
    }

    async fn with(
        server: SocketAddr,
        namespace: &str,
        options: Options,
        edit: impl Fn(&'static str) -> &'static str,
    ) -> Self {
        let metrics = Metrics::new();
        let redis = connect(server, &metrics).await;
        let store =
            RedisCache::with_scripts(redis.clone(), namespace, options, &metrics, Clock::system(), edit);
        Self { redis, store: Arc::new(store), metrics }
    }

    /// The value of a series in the text that is exported.
    fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.render(Format::Prometheus);
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

async fn connect(server: SocketAddr, metrics: &Metrics) -> Redis {
    let address = Address::new(server.ip().to_string(), server.port());
    let options = mainstay_redis::Options::new(Deployment::Standalone(address));
    let redis = Redis::open(options, metrics, Clock::system());
    redis.ready(5 * SECOND).await.unwrap();
    redis
}

/// A namespace that no other part of the test has.
fn namespace() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
