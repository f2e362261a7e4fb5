//! The contract of the cache's store, kept on Redis; and bugs in its scripts, which the contract convicts.

use mainstay_core::cache::Store;
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::cache::{Backend, suite};
use mainstay_testkit::redis::RedisServer;

use super::*;

/// On a connection that all cases share, each in a namespace of its own.
fn backend(redis: &Redis, options: Options, edit: impl Fn(&'static str) -> &'static str) -> Backend {
    let (metrics, clock) = (Metrics::new(), Clock::system());
    let store = RedisCache::with_scripts(redis.clone(), &namespace(), options, &metrics, clock, edit);
    Backend {
        store: Arc::new(store) as Arc<dyn Store>,
        elapse: Elapse::of(|time| tokio::time::sleep(time + 2 * MS)),
    }
}

#[tokio::test]
async fn the_store_on_one_server_keeps_the_contract() {
    let server = RedisServer::start().await;
    let redis = connect(server.address(), &Metrics::new()).await;
    suite().run(async || backend(&redis, Options::default(), |source| source)).await;
}

#[tokio::test]
async fn the_store_keeps_the_contract_with_nothing_near() {
    let server = RedisServer::start().await;
    let redis = connect(server.address(), &Metrics::new()).await;
    let mut options = Options::default();
    options.near_ttl = Duration::ZERO;
    suite().run(async || backend(&redis, options.clone(), |source| source)).await;
}
