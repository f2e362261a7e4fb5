//! `mainstay_redis::rate_limit`.

mod contract;
mod lane;
mod mutants;
mod schedules;

use std::time::Duration;

use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_redis::{Address, Deployment, Options, Redis};
use mainstay_testkit::redis::RedisServer;

/// A connection to a server of the test's own.
async fn connect(server: &RedisServer) -> Redis {
    let address = server.address();
    let options =
        Options::new(Deployment::Standalone(Address::new(address.ip().to_string(), address.port())));
    let redis = Redis::open(options, &Metrics::new(), Clock::system());
    redis.ready(Duration::from_secs(5)).await.unwrap();
    redis
}
