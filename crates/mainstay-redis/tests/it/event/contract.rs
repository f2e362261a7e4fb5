//! The contract of event stores, held against every kind of deployment.

use std::cell::Cell;
use std::sync::Arc;

use mainstay_redis::event::{Options, RedisEvents};
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::event::{Backend, suite};
use mainstay_testkit::redis::{Cluster, RedisServer, Sentinels};

use super::connect;

const CAPACITY: usize = 6;

/// Stores that share a connection, each in a namespace of its own.
async fn keeps_the_contract(url: &str) {
    let (redis, next) = (connect(url).await, Cell::new(0));
    let backend = async || {
        next.set(next.get() + 1);
        let mut options = Options::default();
        options.max_queue = CAPACITY;
        let store = RedisEvents::new(redis.clone(), &format!("case-{}", next.get()), options);
        let elapse = Elapse::of(tokio::time::sleep);
        Backend { store: Arc::new(store), capacity: CAPACITY, retained: 1_000, elapse }
    };
    let mut failures = Vec::new();
    // A machine that stands still for a moment makes a short receipt lapse: what fails has to fail again.
    for _ in 0..3 {
        failures = suite().failures_at_once(&backend).await;
        if failures.is_empty() {
            return;
        }
    }
    panic!("broken:\n{}", failures.join("\n"));
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
