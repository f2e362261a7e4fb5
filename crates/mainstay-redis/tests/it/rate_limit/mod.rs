//! `mainstay_redis::rate_limit`.

mod contract;
mod lane;
mod live;
mod mutants;
mod outage;
mod schedules;
mod states;

use std::time::Duration;

use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_redis::{Options, Redis};

/// A connection of its own.
async fn connect(url: &str) -> Redis {
    let redis = Redis::open(Options::parse(url).unwrap(), &Metrics::new(), Clock::system());
    redis.ready(Duration::from_secs(10)).await.unwrap();
    redis
}
