//! The contract, held against every kind of deployment.

use std::cell::Cell;
use std::sync::Arc;

use mainstay_redis::rate_limit::RedisLimits;
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::rate_limit::{Backend, suite};
use mainstay_testkit::redis::{Cluster, RedisServer, Sentinels};

use super::connect;

/// Stores that share a connection, each in a namespace of its own.
async fn keeps_the_contract(url: &str) {
    let (redis, next) = (connect(url).await, Cell::new(0));
    let backend = async || {
        next.set(next.get() + 1);
        let store = Arc::new(RedisLimits::new(redis.clone(), &format!("case-{}", next.get())));
        Backend { store, elapse: Elapse::of(tokio::time::sleep) }
    };
    suite().run_at_once(backend).await;
}

#[tokio::test]
async fn one_server_keeps_the_contract() {
    keeps_the_contract(&RedisServer::start().await.url()).await;
}

#[tokio::test]
async fn a_primary_under_sentinels_keeps_the_contract() {
    keeps_the_contract(&Sentinels::start().await.url()).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    keeps_the_contract(&Cluster::start().await.url()).await;
}
