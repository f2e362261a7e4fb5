//! What a limiter decides while its server is gone.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::rate_limit::{Options, Outage, Quota, RateLimiter, Refusal};
use mainstay_core::time::Clock;
use mainstay_redis::rate_limit::RedisLimits;
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::RedisServer;

use super::connect;

const API: Quota = Quota::per_hour(1_000).named("api");
const LOGIN: Quota = Quota::per_hour(1_000).named("login").on_outage(Outage::Deny);

#[tokio::test]
async fn without_its_server_a_process_admits_its_share_and_then_it_recovers() {
    let mut server = RedisServer::start().await;
    let (metrics, redis) = (Metrics::new(), connect(&server.url()).await);
    let mut options = Options::default();
    options.instances = 4;
    let store = Arc::new(RedisLimits::new(redis.clone(), "n"));
    let limiter = RateLimiter::new(store, options, &metrics, Clock::system());
    let charged = limiter.check("k", API).await.unwrap();
    assert!(charged.allowed && !charged.degraded);

    server.kill();
    let down = async || limiter.check("warm", API).await.unwrap().degraded;
    eventually_async("the loss is noticed", Duration::from_secs(5), down).await;
    let (mut admitted, mut times) = (0, Vec::new());
    for _ in 0..5_000 {
        let begin = Clock::system().now();
        let decision = limiter.check("k", API).await.unwrap();
        times.push(Clock::system().now().saturating_since(begin));
        assert!(decision.degraded);
        admitted += u32::from(decision.allowed);
    }
    assert_eq!(admitted, 250, "a quarter of 1,000");
    times.sort_unstable();
    println!(
        "without the server: p50 {:?}, p99 {:?}, slowest {:?}",
        times[2_500], times[4_950], times[4_999]
    );
    let denied = limiter.check("k", LOGIN).await.unwrap();
    assert_eq!((denied.allowed, denied.refusal()), (false, Some(Refusal::Outage)));
    limiter.refund("k", API, &charged).await.unwrap_err();
    assert!(metrics.render(Format::Prometheus).contains("rate_limit_degraded_total{policy=\"login\"} 1"));

    server.restart().await;
    let back = async || !limiter.check("other", API).await.unwrap().degraded;
    eventually_async("the server decides again", Duration::from_secs(10), back).await;
    assert!(limiter.check("k", API).await.unwrap().allowed);
}
