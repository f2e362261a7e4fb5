//! The contract of a lock store, held against every kind of deployment.

use std::cell::Cell;
use std::sync::Arc;

use mainstay_redis::Redis;
use mainstay_redis::lock::RedisLocks;
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::lock::{Backend, suite};
use mainstay_testkit::redis::{Cluster, RedisServer, Sentinels};

use super::{by_url, connect};

async fn keeps_the_contract(redis: Redis) {
    let next = Cell::new(0);
    let backend = async || {
        next.set(next.get() + 1);
        let store = Arc::new(RedisLocks::new(redis.clone(), &format!("case-{}", next.get()), "test"));
        Backend { store, elapse: Elapse::of(tokio::time::sleep) }
    };
    steadily(async || suite().failures_at_once(&backend).await).await;
}

/// A machine that stands still for a moment makes a short ttl end early: what fails has to fail again.
pub(super) async fn steadily(trial: impl AsyncFn() -> Vec<String>) {
    let mut failures = Vec::new();
    for _ in 0..3 {
        failures = trial().await;
        if failures.is_empty() {
            return;
        }
    }
    panic!("broken:\n{}", failures.join("\n"));
}

#[tokio::test]
async fn one_server_keeps_the_contract() {
    let server = RedisServer::start().await;
    keeps_the_contract(connect(server.address()).await).await;
}

#[tokio::test]
async fn a_primary_under_sentinels_keeps_the_contract() {
    let sentinels = Sentinels::start().await;
    keeps_the_contract(by_url(&sentinels.url()).await).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let cluster = Cluster::start().await;
    keeps_the_contract(by_url(&cluster.url()).await).await;
}
