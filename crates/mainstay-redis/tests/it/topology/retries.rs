//! The rule in four sentences, each against a server behind a wire that breaks. `INCR` counts how often a command was
//! carried out, whatever class it is declared.

use std::time::Duration;

use tokio::time::Instant;

use mainstay_redis::{CallError, Class, Options, Redis};
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::{Proxy, RedisServer};

use super::{SOON, count, get, incr, open};

async fn behind(server: &RedisServer) -> (Proxy, Redis) {
    let proxy = Proxy::start(server.address()).await;
    let mut options = Options::parse(&format!("redis://{}", proxy.address())).unwrap();
    options.connections = 1;
    options.command_timeout = Duration::from_secs(2);
    let redis = open(options);
    redis.ready(SOON).await.unwrap();
    (proxy, redis)
}

/// Sends `INCR` of this class while the wire is cut behind the request: its outcome, and how often it happened.
///
/// The cut may meet a question of a connection's own instead; then it is tried again.
async fn cut_off(class: Class) -> (Result<i64, CallError>, i64) {
    let server = RedisServer::start().await;
    let (proxy, redis) = behind(&server).await;
    let happened = async || server.command(&["GET", "n"]).await.parse().unwrap_or(0);
    loop {
        let before: i64 = happened().await;
        proxy.cut_after_request(1);
        let outcome = redis.call(incr(class, "n")).await.and_then(|answer| answer.int());
        if outcome != Ok(before + 1) {
            return (outcome, happened().await - before);
        }
        redis.ready(SOON).await.unwrap();
    }
}

#[tokio::test]
async fn a_command_of_unknown_outcome_is_sent_again_if_it_is_idem_or_read() {
    for class in [Class::Idem, Class::Read] {
        let (outcome, happened) = cut_off(class).await;
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(happened, 2, "the first time no answer came");
    }
}

#[tokio::test]
async fn a_command_of_unknown_outcome_is_never_sent_again_if_it_is_once() {
    let (outcome, happened) = cut_off(Class::Once).await;
    assert!(matches!(outcome, Err(CallError::Unknown { .. })), "{outcome:?}");
    assert_eq!(happened, 1);
}

#[tokio::test]
async fn a_command_that_was_not_sent_is_sent_when_the_connection_is_back_in_a_moment() {
    let server = RedisServer::start().await;
    let (proxy, redis) = behind(&server).await;
    let mut answered = 0;
    for _ in 0..20 {
        let mut epochs = redis.epochs();
        epochs.mark_unchanged();
        proxy.cut();
        epochs.changed().await.unwrap();
        match redis.call(incr(Class::Once, "n")).await {
            Ok(_) => answered += 1,
            // It was on the one connection that was not seen to be cut yet.
            Err(CallError::Unknown { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        redis.ready(SOON).await.unwrap();
    }
    assert!(answered > 0);
    assert!(count(&redis, "n").await.unwrap() >= answered);
}

#[tokio::test]
async fn while_the_server_is_gone_a_command_fails_at_once() {
    let mut server = RedisServer::start().await;
    let (_proxy, redis) = behind(&server).await;
    server.kill();
    let at_once = async || {
        let begin = Instant::now();
        let answer = redis.call(get("n")).await;
        matches!(answer, Err(CallError::NotSent { .. })) && begin.elapsed() < Duration::from_millis(5)
    };
    eventually_async("calls fail at once", Duration::from_secs(1), at_once).await;
    let begin = Instant::now();
    for _ in 0..1_000 {
        assert!(matches!(redis.call(get("n")).await, Err(CallError::NotSent { .. })));
    }
    assert!(begin.elapsed() < Duration::from_millis(200), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn all_attempts_share_one_deadline() {
    let server = RedisServer::start().await;
    let (proxy, redis) = behind(&server).await;
    let begin = Instant::now();
    // Cut after the first attempt was sent, and silent from then on.
    proxy.cut_after_request(1);
    let call = redis.call(incr(Class::Idem, "n"));
    let silence = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        proxy.drop_replies();
    };
    let (outcome, ()) = tokio::join!(call, silence);
    let took = begin.elapsed();
    assert!(outcome.is_ok() || matches!(outcome, Err(CallError::Unknown { .. })), "{outcome:?}");
    assert!(took < Duration::from_millis(2_100), "{took:?}");
}
