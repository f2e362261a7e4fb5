//! The contract of the cache's store, kept on Redis; and bugs in its scripts, which the contract convicts.

use std::cell::Cell;

use futures_util::future::join_all;
use mainstay_core::cache::{Claim, Entry, Lookup, Outcome, Settled, Token, Value};
use mainstay_core::codec::Codec;
use mainstay_testkit::conformance::Elapse;
use mainstay_testkit::conformance::cache::{Backend, suite};
use mainstay_testkit::redis::{Cluster, Sentinels};

use super::*;

/// On a connection that all cases share, each in a namespace of its own.
fn backend(redis: &Redis, options: Options, edit: impl Fn(&'static str) -> &'static str) -> Backend {
    let (metrics, clock) = (Metrics::new(), Clock::system());
    let store = RedisCache::with_scripts(redis.clone(), &namespace(), options, &metrics, clock, edit);
    let elapse = Elapse::of(|time| tokio::time::sleep(time + 5 * MS));
    Backend { store: Arc::new(store) as Arc<dyn Store>, elapse }
}

async fn keeps_the_contract(url: &str) {
    let redis = connect(url, &Metrics::new(), 10 * SECOND).await;
    suite().run_at_once(async || backend(&redis, Options::default(), |source| source)).await;
}

#[tokio::test]
async fn one_server_keeps_the_contract() {
    keeps_the_contract(&RedisServer::start().await.url()).await;
}

#[tokio::test]
async fn a_primary_under_sentinels_keeps_the_contract() {
    keeps_the_contract(&Sentinels::start().await.url()).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    keeps_the_contract(&Cluster::start().await.url()).await;
}

#[tokio::test]
async fn one_server_keeps_the_contract_with_nothing_near() {
    let server = RedisServer::start().await;
    let redis = connect(&server.url(), &Metrics::new(), 10 * SECOND).await;
    let mut options = Options::default();
    options.near_ttl = Duration::ZERO;
    suite().run_at_once(async || backend(&redis, options.clone(), |source| source)).await;
}

/// A bug: in the scripts this text becomes that one.
struct Bug {
    name: &'static str,
    from: &'static str,
    to: &'static str,
}

const fn bug(name: &'static str, from: &'static str, to: &'static str) -> Bug {
    Bug { name, from, to }
}

const BUGS: [Bug; 14] = [
    bug(
        "invalidation keeps the lease",
        "if redis.call('DEL', KEYS[1], KEYS[2]) > 0 then",
        "if redis.call('DEL', KEYS[1]) >= 0 then",
    ),
    bug(
        "put keeps the lease",
        "if redis.call('DEL', KEYS[2]) == 1 then",
        "if redis.call('EXISTS', KEYS[2]) == 1 then",
    ),
    bug("anyone may fill", "string.sub(lease, 1, 33) ~= ARGV[5]", "false"),
    bug(
        "a fill keeps the lease",
        "redis.call('DEL', KEYS[2])\nredis.call('PUBLISH', ARGV[4], 'fill')",
        "redis.call('PUBLISH', ARGV[4], 'fill')",
    ),
    bug("everyone gets the lease", "if not lease or lease == ARGV[5] then", "if true then"),
    bug("a lease whose tag was invalidated is held", "or lease == ARGV[5]", ""),
    bug("asking again finds the key busy with oneself", "== string.sub(ARGV[1], 1, 33)", "== 'L'"),
    bug("stale is served as fresh", "fresh_until - now > tonumber(ARGV[3])", "value"),
    bug(
        "a value that is no use is found again",
        "string.sub(value, -4) == ARGV[4] then",
        "string.sub(value, -4) == '' then",
    ),
    bug("a kept lease is given back", "if ARGV[3] == '0' then", "if true then"),
    bug("a tag's epoch repeats", "math.max(old + 1, now)", "1"),
    bug(
        "a tag's epoch is written as a float",
        "string.format('%.0f', math.max(old + 1, now))",
        "tostring(math.max(old + 1, now))",
    ),
    bug("older versions win", "if known and string.sub(known, 1, 20) >= ARGV[5] then return 0 end", ""),
    bug(
        "a deletion forgets its version",
        "redis.call('SET', KEYS[3], ARGV[2] .. ARGV[3], 'PX', ARGV[4])",
        "",
    ),
];

#[tokio::test]
async fn the_contract_convicts_every_bug_in_the_scripts() {
    let server = RedisServer::start().await;
    let redis = connect(&server.url(), &Metrics::new(), 10 * SECOND).await;
    // At once: a waiter that is not woken takes ten seconds to notice.
    let convictions = join_all(BUGS.iter().map(async |Bug { name, from, to }| {
        let seeded = Cell::new(false);
        let edit = |source: &'static str| -> &'static str {
            if !source.contains(from) {
                return source;
            }
            seeded.set(true);
            source.replace(from, to).leak()
        };
        let failures = suite().failures_at_once(async || backend(&redis, Options::default(), edit)).await;
        assert!(seeded.get(), "`{name}` changes no script");
        (name, failures)
    }));
    for (name, failures) in convictions.await {
        assert!(!failures.is_empty(), "`{name}` was not noticed");
        assert!(failures.len() < suite().len() / 2, "`{name}` breaks more than one thing: {failures:#?}");
    }
}

/// Whether somebody in one process is woken by the end of a load in another, long before the lease runs out.
async fn is_woken(edit: impl Fn(&'static str) -> &'static str) -> bool {
    let server = RedisServer::start().await;
    let waits = Process::start(server.address(), "svc").await;
    let redis = connect(&server.url(), &Metrics::new(), 10 * SECOND).await;
    let (metrics, clock) = (Metrics::new(), Clock::system());
    let loads = RedisCache::with_scripts(redis, "svc", Options::default(), &metrics, clock, edit);
    let (key, token) = (Key::new("k").unwrap(), Token::random());
    let claim = Claim { token, lease: 60 * SECOND, min_fresh: Duration::ZERO, tags: &[] };
    assert!(matches!(loads.lookup(key, claim).await, Ok(Lookup::Lease { .. })));
    let changed = waits.store.changed(key);
    let listens = async || server.command(&["PUBSUB", "CHANNELS"]).await.contains("ms:{svc:cache:k}:c");
    eventually_async("it listens", 10 * SECOND, listens).await;
    tokio::time::sleep(50 * MS).await; // its look at the lease comes after that
    loads.settle(key, token, Outcome::GiveBack).await.unwrap();
    tokio::time::timeout(SECOND, changed).await.is_ok()
}

#[tokio::test]
async fn who_waits_is_woken_by_what_another_process_does() {
    assert!(is_woken(|source| source).await);
    let silent = |source: &'static str| -> &'static str {
        source.replace("redis.call('PUBLISH', ARGV[1], 'release')", "").leak()
    };
    assert!(!is_woken(silent).await, "a script that tells nobody was not noticed");
}

#[tokio::test]
async fn no_time_is_too_long_for_the_server() {
    let server = RedisServer::start().await;
    let store = Process::start(server.address(), "svc").await.store;
    let (key, token, ever) = (Key::new("k").unwrap(), Token::random(), Duration::MAX);
    let claim = Claim { token, lease: ever, min_fresh: ever, tags: &[] };
    let value = Arc::new(Value::new("1".into(), Codec::Json, ever));
    let entry = Entry { value, fresh_for: ever, stale_for: ever, tags: Vec::new() };
    assert!(matches!(store.lookup(key, claim).await, Ok(Lookup::Lease { .. })));
    assert_eq!(store.settle(key, token, Outcome::Keep(ever)).await, Ok(Settled::Done));
    assert_eq!(store.put(&[(key, entry.clone())]).await, Ok(()));
    assert_eq!(store.put_if_newer(key, entry.clone(), u64::MAX).await, Ok(true));
    assert!(store.get(key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_key_that_is_asked_for_twice_at_once_is_found_twice() {
    let server = RedisServer::start().await;
    let one = Process::start(server.address(), "svc").await;
    one.set("k", 1).await;
    for options in [patient(), bounds(0), bounds(usize::MAX)] {
        let other = Process::with(server.address(), "svc", options).await;
        for _ in 0..3 {
            let found = other.cache.get_many::<u64>(&["k", "none", "k", "k"]).await.unwrap();
            assert_eq!(found, [Some(1), None, Some(1), Some(1)]);
        }
    }
}

/// All bounds at once.
fn bounds(most: usize) -> Options {
    let mut options = patient();
    (options.max_bytes, options.max_tags, options.max_value_bytes) = (most, most, most.max(100));
    options
}
