//! The contract of a lock store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mainstay_redis::Redis;
use mainstay_redis::lock::RedisLocks;
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::lock::{Backend, suite};
use mainstay_testkit::redis::RedisServer;

use super::connect;

async fn keeps_the_contract(redis: &Redis) {
    let cases = AtomicUsize::new(0);
    suite()
        .run(async || {
            let namespace = format!("case-{}", cases.fetch_add(1, Ordering::Relaxed));
            let store = Arc::new(RedisLocks::new(redis.clone(), &namespace, "test"));
            Backend { store, elapse: Elapse::of(tokio::time::sleep) }
        })
        .await;
}

#[tokio::test]
async fn one_server_keeps_the_contract() {
    let server = RedisServer::start().await;
    keeps_the_contract(&connect(server.address()).await).await;
}
