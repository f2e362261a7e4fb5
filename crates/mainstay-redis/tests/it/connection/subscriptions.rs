use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use mainstay_core::secret::Secret;
use mainstay_redis::{Bell, CallError, Redis};
use mainstay_testkit::redis::{Proxy, RedisServer};
use mainstay_testkit::{Seed, eventually_async};
use tokio::time::timeout;

use super::*;

async fn listen(redis: &Redis, channel: &str) -> Bell {
    let mut bell = None;
    let listens = async || {
        bell = redis.listen(channel.into()).await.ok();
        bell.is_some()
    };
    eventually_async("the subscription is confirmed", SOON, listens).await;
    bell.expect("it was waited for")
}

async fn subscribers(server: &RedisServer, channel: &str) -> usize {
    let answer = server.command(&["PUBSUB", "NUMSUB", channel]).await;
    let digits: String = answer.chars().rev().take_while(char::is_ascii_digit).collect();
    digits.chars().rev().collect::<String>().parse().unwrap()
}

async fn has_subscribers(server: &RedisServer, channel: &str, expected: usize) {
    let reached = async || subscribers(server, channel).await == expected;
    eventually_async("the server knows the right number of subscribers", SOON, reached).await;
}

async fn rings(bell: Bell) {
    timeout(SOON, bell).await.expect("the bell rings");
}

#[tokio::test]
async fn a_message_rings_every_bell_of_its_channel_and_no_other() {
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    let (first, second) = (listen(&redis, "ms:a").await, listen(&redis, "ms:a").await);
    let mut other = listen(&redis, "ms:b").await;
    assert_eq!(subscribers(&server, "ms:a").await, 1, "they share one subscription");
    server.command(&["PUBLISH", "ms:a", "x"]).await;
    rings(first).await;
    rings(second).await;
    assert!((&mut other).now_or_never().is_none());
    server.command(&["PUBLISH", "ms:b", "x"]).await;
    rings(other).await;
}

#[tokio::test]
async fn the_subscription_ends_with_the_last_bell_wherever_that_is_dropped() {
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    let (first, second) = (listen(&redis, "ms:a").await, listen(&redis, "ms:a").await);
    drop(first);
    let _other = listen(&redis, "ms:b").await;
    assert_eq!(subscribers(&server, "ms:a").await, 1);
    std::thread::spawn(move || drop(second)).join().unwrap();
    has_subscribers(&server, "ms:a", 0).await;
}

#[tokio::test]
async fn one_more_bell_on_a_known_channel_asks_the_server_nothing() {
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    let _first = listen(&redis, "ms:a").await;
    server.pause();
    assert!(redis.listen(b"ms:a".to_vec()).now_or_never().is_some_and(|bell| bell.is_ok()));
    server.resume();
}

#[tokio::test]
async fn a_lost_connection_rings_every_bell_and_the_channels_are_subscribed_anew() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let redis = connected(options(proxy.address())).await;
    let (mut kept, other) = (listen(&redis, "ms:a").await, listen(&redis, "ms:b").await);
    proxy.refuse();
    timeout(SOON, &mut kept).await.expect("the bell rings");
    rings(other).await;
    let refused = redis.listen(b"ms:a".to_vec()).await;
    assert!(matches!(refused, Err(CallError::NotSent { .. })));
    proxy.pass();
    has_subscribers(&server, "ms:a", 1).await;
    assert_eq!(subscribers(&server, "ms:b").await, 0, "nobody listens there any more");
    let again = listen(&redis, "ms:a").await;
    server.command(&["PUBLISH", "ms:a", "x"]).await;
    rings(again).await;
    drop(kept);
    has_subscribers(&server, "ms:a", 0).await;
}

#[tokio::test]
async fn a_silent_wire_rings_every_bell() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let redis = connected(options(proxy.address())).await;
    let bell = listen(&redis, "ms:a").await;
    proxy.blackhole();
    timeout(Duration::from_secs(5), bell).await.expect("the bell rings");
}

#[tokio::test]
async fn a_channel_that_the_user_may_not_hear_is_refused_alone() {
    let rules = "on >secret ~ms:* &ms:* +@all";
    let server = RedisServer::builder().acl("app", rules).start().await;
    let mut options = options(server.address());
    (options.username, options.password) = (Some("app".into()), Some(Secret::new("secret".into())));
    let redis = connected(options).await;
    let _up = listen(&redis, "ms:up").await;
    let channels = ["ms:a", "secret", "ms:b"];
    let bells = join_all(channels.map(|channel| redis.listen(channel.into()))).await;
    assert!(bells[0].is_ok() && bells[2].is_ok());
    assert!(matches!(&bells[1], Err(CallError::Rejected { code, .. }) if &**code == "NOPERM"), "{bells:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_and_goes_at_once_whoever_listens_hears() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    drop(listen(&redis, "ms:0").await);
    let tasks = (0..8).map(|_| {
        let redis = redis.clone();
        let turns: Vec<_> = (0..100).map(|_| (rng.below(2), rng.chance(0.3))).collect();
        tokio::spawn(async move {
            for (channel, waits) in turns {
                let channel = format!("ms:{channel}");
                let bell = redis.listen(channel.clone().into_bytes()).await.unwrap();
                if waits {
                    let publish = Command::new(Class::Once, "PUBLISH").arg(&channel).arg("x");
                    redis.call(publish).await.unwrap();
                    rings(bell).await;
                }
            }
        })
    });
    for ended in join_all(tasks).await {
        ended.unwrap();
    }
    has_subscribers(&server, "ms:0", 0).await;
    has_subscribers(&server, "ms:1", 0).await;
}
