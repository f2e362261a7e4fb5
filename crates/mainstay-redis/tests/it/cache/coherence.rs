//! What is kept near: it saves the question to the server, and goes when the server says so.

use super::*;

async fn two() -> (RedisServer, Process, Process) {
    let server = RedisServer::start().await;
    let one = Process::start(server.address(), "svc").await;
    let other = Process::start(server.address(), "svc").await;
    (server, one, other)
}

/// How often the server was asked for a value.
async fn reads(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).await;
    let count = |line: &str| line.strip_prefix("cmdstat_get:calls=")?.split(',').next()?.parse().ok();
    stats.lines().find_map(count).unwrap_or(0)
}

#[tokio::test]
async fn what_was_read_once_is_not_asked_for_again() {
    let (server, one, other) = two().await;
    one.set("k", 1).await;
    assert_eq!(other.get("k").await, Some(1));
    let before = (reads(&server).await, other.near_hits());
    for _ in 0..100 {
        assert_eq!(other.get("k").await, Some(1));
        let load = || async { Err::<u64, _>(std::io::Error::other("it is there")) };
        assert_eq!(other.cache.get_or_load("k", Ttl::hours(1), load).await.unwrap(), 1);
    }
    assert_eq!(other.cache.get_many::<u64>(&["k", "k"]).await.unwrap(), [Some(1), Some(1)]);
    assert_eq!((reads(&server).await, other.near_hits()), (before.0, before.1 + 202.0));
}

#[tokio::test]
async fn what_another_process_changed_is_seen_without_asking_again_and_again() {
    let (_server, one, other) = two().await;
    for version in 1..20 {
        one.set("k", version).await;
        let seen = async || other.get("k").await == Some(version);
        eventually_async("the change is seen", BOUND, seen).await;
    }
    assert!(one.cache.delete("k").await.unwrap());
    eventually_async("the deletion is seen", BOUND, async || other.get("k").await.is_none()).await;
    assert!(other.metric("cache_near_invalidations_total") >= 19.0);
}

#[tokio::test]
async fn a_tag_that_another_process_invalidated_takes_away_what_is_near() {
    let (server, one, other) = two().await;
    let tagged = Ttl::hours(1).tag("users").tag("{odd} \0 name");
    for version in 1_u64..10 {
        one.cache.set("k", &version, tagged.clone()).await.unwrap();
        other.warm("k", version).await;
        let before = reads(&server).await;
        assert_eq!(other.get("k").await, Some(version));
        assert_eq!(reads(&server).await, before, "value and tags are near");
        one.cache.invalidate_tag(if version % 2 == 0 { "users" } else { "{odd} \0 name" }).await.unwrap();
        eventually_async("it is gone", BOUND, async || other.get("k").await.is_none()).await;
    }
}

#[tokio::test]
async fn what_is_flushed_on_the_server_is_not_found_near() {
    let (server, one, other) = two().await;
    one.set("k", 1).await;
    assert_eq!(other.get("k").await, Some(1));
    assert_eq!(other.get("k").await, Some(1));
    server.command(&["FLUSHALL"]).await;
    eventually_async("it is gone", BOUND, async || other.get("k").await.is_none()).await;
}

#[tokio::test]
async fn a_server_that_cannot_remember_all_that_was_read_leaves_nothing_old_near() {
    let (server, one, other) = two().await;
    server.command(&["CONFIG", "SET", "tracking-table-max-keys", "10"]).await;
    let keys: Vec<String> = (0..200).map(|n| format!("key:{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for version in [1_u64, 2] {
        let entries: Vec<(&str, u64)> = keys.iter().map(|key| (*key, version)).collect();
        one.cache.set_many(&entries, Ttl::hours(1)).await.unwrap();
        let seen = async || other.cache.get_many(&keys).await.unwrap() == vec![Some(version); keys.len()];
        eventually_async("all changes are seen", BOUND, seen).await;
        let forgotten = async || keys.iter().filter(|key| other.near(key).is_some()).count() <= 10;
        eventually_async("what is not remembered is not near", BOUND, forgotten).await;
    }
}

#[tokio::test]
async fn names_that_are_digests_on_the_server_are_asked_for_each_time() {
    let (_server, one, other) = two().await;
    let name = "é".repeat(1_000);
    for version in 1..5 {
        one.set(&name, version).await;
        assert_eq!(other.get(&name).await, Some(version), "at once: it is not near");
    }
    assert_eq!(other.near_hits(), 0.0);
}

/// A tag's server key does not say which tag it is, so it cannot be dropped when the server says that it changed.
#[tokio::test]
async fn a_tag_whose_name_is_a_digest_on_the_server_is_asked_for_each_time() {
    let (_server, one, other) = two().await;
    let tag = "é".repeat(1_000);
    for version in 1..5 {
        one.cache.set("k", &version, Ttl::hours(1).tag(tag.clone())).await.unwrap();
        let seen = async || other.get("k").await == Some(version);
        eventually_async("the value is seen", BOUND, seen).await;
        one.cache.invalidate_tag(&tag).await.unwrap();
        assert_eq!(other.get("k").await, None, "at once: the tag is not near");
    }
}

#[tokio::test]
async fn near_time_is_bounded() {
    let server = RedisServer::start().await;
    let mut options = patient();
    options.near_ttl = 20 * MS;
    let process = Process::with(server.address(), "svc", options).await;
    process.set("k", 1).await;
    process.warm("k", 1).await;
    eventually_async("it is not near any more", 10 * SECOND, async || process.near("k").is_none()).await;
    assert_eq!(process.get("k").await, Some(1));
}

#[tokio::test]
async fn what_is_near_stays_within_its_bound() {
    let server = RedisServer::start().await;
    let mut options = patient();
    (options.max_bytes, options.max_value_bytes) = (64 << 10, 1 << 10);
    let process = Process::with(server.address(), "svc", options).await;
    let keys: Vec<String> = (0..1_000).map(|n| format!("key:{n}")).collect();
    let entries: Vec<(&str, u64)> = keys.iter().map(String::as_str).zip(0..).collect();
    process.cache.set_many(&entries, Ttl::hours(1)).await.unwrap();
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    for _ in 0..2 {
        let found = process.cache.get_many::<u64>(&names).await.unwrap();
        assert_eq!(found, (0..1_000).map(Some).collect::<Vec<_>>());
    }
    let bytes = process.metric("cache_bytes");
    assert!(bytes > 32_768.0 && bytes <= 65_536.0, "{bytes}");
    assert!(process.metric("cache_evictions_total") > 0.0);
}

#[tokio::test]
async fn bytes_that_are_no_value_are_a_miss_and_are_replaced() {
    let (server, one, other) = two().await;
    one.set("theirs", 1).await;
    let mut schema = patient();
    schema.schema = 1;
    let newer = Process::with(server.address(), "svc", schema).await;
    assert_eq!(newer.get("theirs").await, None);
    assert_eq!(newer.metric("cache_envelope_rejected_total{reason=\"schema\"}"), 1.0);

    for (at, bytes) in
        ["", "hello", "9999999999999999MS\u{7f}", "9999999999999999hello, world, hello"].iter().enumerate()
    {
        let key = format!("k{at}");
        server.command(&["SET", &format!("ms:{{svc:cache:{key}}}:v"), bytes]).await;
        assert_eq!(other.get(&key).await, None);
        let load = || async { Ok::<_, std::io::Error>(7_u64) };
        assert_eq!(other.cache.get_or_load(&key, Ttl::hours(1), load).await.unwrap(), 7);
        assert_eq!(one.get(&key).await, Some(7));
    }
    let rejected = other.metric("cache_envelope_rejected_total{reason=\"format\"}");
    assert!(rejected >= 4.0, "{rejected}");

    // An answer to another question.
    server.command(&["COPY", "ms:{svc:cache:theirs}:v", "ms:{svc:cache:mine}:v"]).await;
    assert_eq!(other.get("mine").await, None);
    assert_eq!(other.metric("cache_envelope_rejected_total{reason=\"key\"}"), 1.0);
}

#[tokio::test]
async fn services_that_share_a_server_do_not_share_values() {
    let server = RedisServer::start().await;
    let one = Process::start(server.address(), "one").await;
    let other = Process::start(server.address(), "other").await;
    one.set("k", 1).await;
    assert_eq!(other.get("k").await, None);
    other.cache.delete("k").await.unwrap();
    assert_eq!(one.get("k").await, Some(1));
}

#[tokio::test]
async fn every_key_on_the_server_expires() {
    let server = RedisServer::start().await;
    let process = Process::start(server.address(), "svc").await;
    let policy = Ttl::minutes(1).stale_for(Ttl::minutes(1)).tag("t");
    process.cache.set("k", &1, policy.clone()).await.unwrap();
    process.cache.set_if_newer("v", &1, 1, policy.clone()).await.unwrap();
    process.cache.delete_version("d", 1).await.unwrap();
    process.cache.invalidate_tag("other").await.unwrap();
    let hangs = || std::future::pending::<Result<u64, std::io::Error>>();
    let loading = process.cache.get_or_load("l", policy, hangs);
    let keys = async || {
        let keys = server.command(&["KEYS", "*"]).await;
        keys.lines()
            .filter_map(|line| Some(line[line.find("ms:")?..].trim_matches('"').to_owned()))
            .collect::<Vec<_>>()
    };
    let looked = eventually_async("the lease is there", 5 * SECOND, async || keys().await.len() >= 7);
    tokio::select! { _ = loading => unreachable!("it hangs"), () = looked => {} }
    for key in keys().await {
        let ttl = server.command(&["PTTL", &key]).await;
        let ttl: i64 = ttl.trim_start_matches("(integer) ").parse().unwrap();
        assert!(ttl > 0, "{key}: {ttl}");
    }
}
