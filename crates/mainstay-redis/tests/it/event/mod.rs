//! `mainstay_redis::event`.

mod contract;

use std::time::Duration;

use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_redis::{Options, Redis};

/// A connection of its own. Answers may take long where many tests run at once.
async fn connect(url: &str) -> Redis {
    let mut options = Options::parse(url).unwrap();
    options.command_timeout = Duration::from_secs(10);
    let redis = Redis::open(options, &Metrics::new(), Clock::system());
    redis.ready(Duration::from_secs(10)).await.unwrap();
    redis
}
