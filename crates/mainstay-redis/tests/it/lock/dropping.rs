//! `acquire` dropped at any point.

use mainstay_core::lock::Options;
use mainstay_testkit::redis::{Proxy, RedisServer};
use mainstay_testkit::{Seed, eventually_async};
use tokio::time::timeout;

use super::{SECOND, connect, locks, millis, store};
use mainstay_core::lock::Store;

const ROUNDS: u64 = 150;

/// Five clients compete for three keys with a ttl that outlasts the test: what is not released shows.
#[tokio::test]
async fn a_dropped_acquire_leaves_no_lock_once_its_cancellation_is_acknowledged() {
    let seed = Seed::from_env("MAINSTAY_SEED");
    let mut rng = seed.rng();
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    proxy.delay(millis(1));
    let redis = connect(proxy.address()).await;
    let locks = locks(&redis, Options::default());
    let rounds =
        ROUNDS * std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse().expect("a number"));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let locks = locks.clone();
        let mut rng = Seed::new(rng.next_u64()).rng();
        tasks.spawn(async move {
            let mut dropped = 0;
            for _ in 0..rounds / 5 {
                let patience = std::time::Duration::from_micros(rng.below(12_000));
                let request = locks.lock(*rng.pick(&["a", "b", "c"]));
                let acquired = if rng.chance(0.5) {
                    timeout(patience, request.acquire()).await
                } else {
                    timeout(patience, request.try_acquire()).await
                };
                match acquired {
                    Ok(guard) => drop(guard),
                    Err(_) => dropped += 1,
                }
            }
            dropped
        });
    }
    let dropped: u64 = tasks.join_all().await.into_iter().sum();
    assert!(dropped > rounds / 10, "only {dropped} were dropped");
    eventually_async("every release is acknowledged", 10 * SECOND, async || locks.usage().releases == 0)
        .await;
    let near = store(&connect(server.address()).await);
    assert_eq!(near.list(10).await.unwrap(), [], "still held");
    eventually_async("nobody listens", 5 * SECOND, async || {
        server.command(&["PUBSUB", "CHANNELS"]).await.is_empty()
    })
    .await;
}
