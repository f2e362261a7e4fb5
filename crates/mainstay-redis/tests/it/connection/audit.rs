use mainstay_core::secret::Secret;
use mainstay_redis::{
    Answer, CallError, Class, Command, Finding, Lane, Options, Primitive, Redis, Script, Severity,
};
use mainstay_testkit::eventually_async;
use mainstay_testkit::redis::RedisServer;

use super::*;

async fn finding(redis: &Redis, code: &str) -> Finding {
    let find = || redis.status().findings().find(|finding| finding.code == code).cloned();
    eventually_async("the finding is there", SOON, async || find().is_some()).await;
    find().expect("it was there")
}

fn login(server: &RedisServer, user: &str) -> Options {
    let mut options = options(server.address());
    (options.username, options.password) = (Some(user.into()), Some(Secret::new("secret".into())));
    options
}

#[tokio::test]
async fn a_server_that_evicts_is_unsafe_for_locks_and_limits() {
    let server = RedisServer::builder().arg("--maxmemory-policy", "allkeys-lru").start().await;
    let redis = connected(options(server.address())).await;
    let found = finding(&redis, "eviction").await;
    assert_eq!(found.severity, Severity::Unsafe);
    assert_eq!(found.unsafe_for, [Primitive::Locks, Primitive::RateLimits]);
    assert_eq!(finding(&redis, "persistence").await.severity, Severity::Notice);
    let status = super::server(&redis);
    assert_eq!(status.role.as_deref(), Some("master"));
    assert!(status.version.is_some_and(|version| version.contains('.')));
    assert!(status.memory_used.is_some_and(|bytes| bytes > 0));
    assert!(status.clients.is_some_and(|clients| clients >= 4));
    assert!(status.connected && status.up_since.is_some() && status.round_trip.is_some());
}

#[tokio::test]
async fn a_server_whose_info_is_forbidden_is_used_and_said_to_be_unknown() {
    let server = RedisServer::builder().acl("app", "on >secret ~* &* +@all -info").start().await;
    let redis = connected(login(&server, "app")).await;
    assert_eq!(finding(&redis, "info").await.severity, Severity::Unknown);
    redis.call(set("ms:k", "v")).await.unwrap();
}

/// As the documentation of `Redis` has it.
const RIGHTS: &str = "on >secret ~ms:* &ms:* +@read +@write +@scripting +publish +subscribe +unsubscribe \
                      +pubsub|numsub +time +select +info +client|tracking";

#[tokio::test]
async fn the_documented_rights_suffice_for_everything() {
    let server = RedisServer::builder().acl("app", RIGHTS).start().await;
    let mut options = login(&server, "app");
    options.database = 1;
    let redis = connected(options).await;
    for lane in [Lane::Main, Lane::Tracked, Lane::Keeper] {
        redis.call(set("ms:k", "v").lane(lane)).await.unwrap();
        let script = Script::new(
            "local now = redis.call('TIME') redis.call('SET', KEYS[1], now[1], 'PX', 1000) \
             redis.call('PUBLISH', ARGV[1], '') return redis.call('GET', KEYS[1])",
        );
        let answer = redis.call(script.call(Class::Idem, &["ms:k"]).arg("ms:c").lane(lane)).await;
        assert!(matches!(answer, Ok(Answer::Bytes(_))), "{answer:?}");
    }
    let bell = redis.listen(b"ms:c".to_vec()).await.unwrap();
    server.command(&["PUBLISH", "ms:c", ""]).await;
    bell.await;
    assert!(redis.witness("ms:k").is_some());
    finding(&redis, "persistence").await;

    let other = redis.call(get("other")).await;
    assert!(matches!(other, Err(CallError::Rejected { code, .. }) if &*code == "NOPERM"));
    let dangerous = redis.call(Command::new(Class::Once, "CONFIG").arg("GET").arg("save")).await;
    assert!(matches!(dangerous, Err(CallError::Rejected { code, .. }) if &*code == "NOPERM"));
}

#[tokio::test]
async fn a_right_that_is_missing_is_told() {
    let server = RedisServer::builder().acl("app", "on >secret ~* &* +@all -client").start().await;
    refused(&open(login(&server, "app")), "NOPERM").await;
}
