//! Locks on real servers.

mod contract;

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_redis::{Address, Deployment, Options, Redis};

const SECOND: Duration = Duration::from_secs(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A connection that is up.
async fn connect(address: SocketAddr) -> Redis {
    open(Deployment::Standalone(Address::new(address.ip().to_string(), address.port()))).await
}

async fn open(deployment: Deployment) -> Redis {
    let redis = Redis::open(Options::new(deployment), &Metrics::new(), Clock::system());
    redis.ready(10 * SECOND).await.expect("the servers are there");
    redis
}
