//! Who waits is woken.

use mainstay_core::lock::{Options, Store};
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::{Proxy, RedisServer};

use tokio::time::Instant;

use super::{SECOND, connect, locks, millis, store};

/// A holder in one process, and one who waits in another that is 20 ms away.
#[tokio::test]
async fn a_release_hands_over_within_a_few_round_trips() {
    const ONE_WAY: u64 = 20;
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let (near, far) = (connect(server.address()).await, connect(proxy.address()).await);
    proxy.delay(millis(ONE_WAY));
    let (holder, waiter) = (locks(&near, Options::default()), locks(&far, Options::default()));
    let guard = holder.lock("k").acquire().await.unwrap();
    let waiting = tokio::spawn(async move { waiter.lock("k").wait(20 * SECOND).acquire().await });
    waits(&store(&near), 1).await;
    // It has subscribed, and asks once more; then it asks nothing.
    let mut before = 0;
    eventually_async("who waits comes to rest", 10 * SECOND, async || {
        let last = std::mem::replace(&mut before, asked(&server).await);
        tokio::time::sleep(millis(300)).await;
        last == before
    })
    .await;
    let released = Instant::now();
    guard.release().await.unwrap();
    drop(waiting.await.unwrap().unwrap());
    // Half a round trip for the message, one to subscribe anew, one to ask.
    let took = released.elapsed();
    assert!(took < 2 * SECOND, "{took:?}: not woken, the ttl is 30 s");
    let asked = asked(&server).await - before;
    assert!((2..=3).contains(&asked), "{asked} scripts for a release, a grant, and a release perhaps");
}

/// How many scripts the server was asked to run.
async fn asked(server: &RedisServer) -> u64 {
    let info = server.command(&["INFO", "commandstats"]).await;
    let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    calls.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().expect("a number"))
}

async fn waits(store: &impl Store, processes: usize) {
    eventually_async("somebody waits", 5 * SECOND, async || {
        store.list(1).await.unwrap().first().is_some_and(|lock| lock.waiting == processes)
    })
    .await;
}

#[tokio::test]
async fn all_processes_that_wait_are_served_one_after_the_other() {
    let server = RedisServer::start().await;
    let own = connect(server.address()).await;
    let guard = locks(&own, Options::default()).lock("k").acquire().await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let locks = locks(&connect(server.address()).await, Options::default());
        for _ in 0..8 {
            let request = locks.lock("k").wait(20 * SECOND);
            waiting.spawn(async move { request.acquire().await.map(|guard| guard.fence()) });
        }
    }
    // One of each process asks; the others stand in its line.
    waits(&store(&own), 4).await;
    let began = Instant::now();
    guard.release().await.unwrap();
    let mut fences = Vec::new();
    while let Some(fence) = waiting.join_next().await {
        fences.push(fence.unwrap().unwrap());
    }
    fences.sort_unstable();
    fences.dedup();
    assert_eq!(fences.len(), 32);
    assert!(began.elapsed() < 10 * SECOND, "woken by nothing but the ttl");
}

/// The message goes astray, and the holder never releases, either.
#[tokio::test]
async fn with_the_subscription_cut_the_wait_ends_with_the_holders_ttl() {
    let server = RedisServer::start().await;
    let (holder, waiter) = (connect(server.address()).await, connect(server.address()).await);
    let (holder, waiter) = (locks(&holder, Options::default()), locks(&waiter, Options::default()));
    let ttl = 2 * SECOND;
    let began = Instant::now();
    let lease = holder.lock("k").ttl(ttl).lease().await.unwrap();
    let waiting = tokio::spawn(async move { waiter.lock("k").wait(20 * SECOND).acquire().await });
    waits(&store(&connect(server.address()).await), 1).await;
    for _ in 0..3 {
        server.command(&["CLIENT", "KILL", "TYPE", "PUBSUB"]).await;
        tokio::time::sleep(millis(20)).await;
    }
    let guard = waiting.await.unwrap().unwrap();
    assert!(guard.fence() > lease.fence);
    assert!(began.elapsed() >= ttl && began.elapsed() < ttl + 2 * SECOND, "{:?}", began.elapsed());
}

/// The holder releases while the other process has no subscription: it asks again when it notices.
#[tokio::test]
async fn a_release_whose_message_was_lost_is_noticed_before_the_ttl() {
    let server = RedisServer::start().await;
    let (near, far) = (connect(server.address()).await, connect(server.address()).await);
    let (holder, waiter) = (locks(&near, Options::default()), locks(&far, Options::default()));
    for _ in 0..3 {
        let guard = holder.lock("k").acquire().await.unwrap();
        let request = waiter.lock("k").wait(25 * SECOND);
        let waiting = tokio::spawn(request.acquire());
        waits(&store(&near), 1).await;
        let began = Instant::now();
        server.command(&["CLIENT", "KILL", "TYPE", "PUBSUB"]).await;
        guard.release().await.unwrap();
        drop(waiting.await.unwrap().unwrap());
        assert!(began.elapsed() < 10 * SECOND, "woken by nothing but the ttl");
    }
}
