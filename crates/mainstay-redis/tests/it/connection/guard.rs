use std::time::Duration;

use futures_util::future::join_all;
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::time::Clock;
use mainstay_redis::{CallError, Redis};
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::{Proxy, RedisServer};
use tokio::time::Instant;

use super::*;

/// Calls that nothing answers, until the guard is open.
async fn open_guard(redis: &Redis) {
    let answers = join_all((0..8).map(|_| redis.call(incr("ms:n")))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(CallError::Unknown { .. }))), "{answers:?}");
    assert!(server(redis).guard_open);
}

#[tokio::test]
async fn a_silent_wire_opens_the_guard_and_calls_then_fail_at_once_until_it_speaks() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let metrics = Metrics::new();
    let redis = Redis::open(options(proxy.address()), &metrics, Clock::system());
    redis.ready(SOON).await.unwrap();
    proxy.blackhole();
    open_guard(&redis).await;
    assert!(metrics.render(Format::Prometheus).contains("redis_guard_open 1\n"));

    let begun = Instant::now();
    for _ in 0..1_000 {
        assert!(matches!(redis.call(incr("ms:n")).await, Err(CallError::NotSent { .. })));
    }
    let each = begun.elapsed() / 1_000;
    assert!(each < Duration::from_micros(50), "{each:?} for each call, in a debug build");

    proxy.pass();
    answers_within(&redis, Duration::from_secs(1)).await;
    let rendered = metrics.render(Format::Prometheus);
    assert!(rendered.contains("redis_guard_open 0\n"), "{rendered}");
    assert!(
        rendered.contains("redis_commands_total{class=\"once\",result=\"not_sent\"} 1000\n"),
        "{rendered}"
    );
    assert!(rendered.contains("redis_commands_total{class=\"once\",result=\"unknown\"} 8\n"), "{rendered}");
}

#[tokio::test]
async fn a_frozen_server_opens_the_guard_and_is_used_again_when_it_goes_on() {
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    server.pause();
    open_guard(&redis).await;
    // Before the silent connections are given up.
    assert_eq!((redis.status().connected, self::server(&redis).connected), (false, false));
    server.resume();
    answers_within(&redis, Duration::from_secs(1)).await;
    // The eight were in its buffers: each may have been done, none was done twice.
    assert!(count(&redis, "ms:n").await.unwrap() <= 8);
}

#[tokio::test]
async fn late_answers_to_commands_that_were_given_up_do_not_close_the_guard() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let redis = connected(options(proxy.address())).await;
    // Every answer comes, and every one comes too late.
    proxy.delay(Duration::from_millis(300));
    let opened = async || {
        join_all((0..8).map(|_| redis.call(get("ms:k")))).await;
        super::server(&redis).guard_open
    };
    eventually_async("the guard opens", SOON, opened).await;
    let watch = async { tokio::time::sleep(Duration::from_millis(1_500)).await };
    let closes = async { eventually_async("never", SOON, async || !super::server(&redis).guard_open).await };
    tokio::select! {
        () = watch => {}
        () = closes => panic!("an answer that came too late closed the guard"),
    }
    proxy.delay(Duration::ZERO);
    answers_within(&redis, Duration::from_secs(2)).await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "it is to block")]
async fn a_runtime_that_was_blocked_does_not_open_the_guard() {
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    let answers = join_all((0..8).map(|_| redis.call(get("ms:k"))));
    let blocked = async { std::thread::sleep(Duration::from_secs(1)) };
    // All are begun, then nothing of this process runs until their time is over.
    let (_answers, ()) = tokio::join!(answers, blocked);
    assert!(!self::server(&redis).guard_open);
    assert_eq!(redis.call(get("ms:k")).await, Ok(Answer::Nil));
}

#[tokio::test]
async fn while_the_guard_is_open_nobody_waits_for_a_subscription_either() {
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    let listens = async || redis.listen(b"ms:known".to_vec()).await.is_ok();
    eventually_async("subscriptions are made", SOON, listens).await;
    server.pause();
    open_guard(&redis).await;
    let begun = Instant::now();
    let refused = redis.listen(b"ms:new".to_vec()).await;
    assert!(matches!(refused, Err(CallError::NotSent { .. })), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    server.resume();
    eventually_async("subscriptions are made again", SOON, listens).await;
}

#[tokio::test]
async fn a_server_that_answers_but_holds_writes_back_does_not_get_the_guard_closed() {
    let server = RedisServer::start().await;
    let redis = connected(options(server.address())).await;
    assert_eq!(server.command(&["CLIENT", "PAUSE", "3000", "WRITE"]).await, "OK");
    open_guard(&redis).await;
    let closes = async || !self::server(&redis).guard_open;
    let closed = eventually_async("never", SOON, closes);
    assert!(
        tokio::time::timeout(Duration::from_secs(1), closed).await.is_err(),
        "more calls would wait in vain"
    );
    assert_eq!(server.command(&["CLIENT", "UNPAUSE"]).await, "OK");
    answers_within(&redis, Duration::from_secs(1)).await;
}
