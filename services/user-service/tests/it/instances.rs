//! Two instances on one Redis: what one does, the other knows; and what they do while it is gone.

use std::time::Duration;

use mainstay_testkit::http::Request;
use mainstay_testkit::redis::RedisServer;
use mainstay_testkit::{Service, ServiceCommand, eventually_async};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{PATIENCE, created, delete, get, metric, patch, path_of, service};

/// A few looks of a check that looks every second.
const SECONDS: Duration = Duration::from_secs(15);

/// Two instances in one directory, and so on one database, and the Redis they share.
struct Instances {
    redis: RedisServer,
    one: Service,
    other: Service,
    _dir: TempDir,
}

impl Instances {
    async fn start() -> Self {
        Self::with(|command| command).await
    }

    async fn with(change: impl Fn(ServiceCommand) -> ServiceCommand) -> Self {
        let (dir, redis) = (TempDir::new().unwrap(), RedisServer::start().await);
        let start = || change(on(&redis)).dir(dir.path()).start();
        let (one, other) = (start().await, start().await);
        let instances = Self { redis, one, other, _dir: dir };
        instances.wait_until_connected().await;
        instances
    }

    async fn wait_until_connected(&self) {
        for service in [&self.one, &self.other] {
            eventually_async("the instance is connected", PATIENCE, async || connected(service).await).await;
        }
    }
}

fn on(redis: &RedisServer) -> ServiceCommand {
    let address = redis.address();
    let on_redis =
        service().env("REDIS_HOST", address.ip().to_string()).env("REDIS_PORT", address.port().to_string());
    on_redis.env("HEALTH_CHECK_INTERVAL", "100ms").env("APP_ENV", "development")
}

async fn status(service: &Service) -> Value {
    let response = get(service, "/distributed/redis/status").await;
    assert_eq!(response.status, 200);
    response.json()
}

pub(crate) async fn connected(service: &Service) -> bool {
    status(service).await["connected"] == true
}

#[tokio::test]
async fn what_one_writes_the_other_reads_though_it_has_read_before() {
    let it = Instances::start().await;
    let user = created(&it.one, "ada@example.org", "Ada").await;
    let path = path_of(&user);
    for round in 0..20 {
        let name = format!("Ada {round}");
        get(&it.other, &path).await;
        patch(&it.one, &path, json!({"name": name})).await;
        eventually_async("the other reads what was written", PATIENCE, async || {
            get(&it.other, &path).await.json()["name"] == name.as_str()
        })
        .await;
    }
    delete(&it.other, &path).await;
    eventually_async("the user is gone", PATIENCE, async || get(&it.one, &path).await.status == 404).await;
}

#[tokio::test]
async fn a_client_is_limited_by_what_it_asked_of_both() {
    let it = Instances::with(|command| command.env("RATE_LIMIT_MAX_REQUESTS", "20")).await;
    let mut admitted = 0;
    for request in 0..40 {
        let service = if request % 2 == 0 { &it.one } else { &it.other };
        admitted += usize::from(get(service, "/api/users").await.status == 200);
    }
    assert_eq!(admitted, 20);
}

#[tokio::test]
async fn a_lock_of_one_is_held_for_the_other_and_fences_grow() {
    let it = Instances::start().await;
    let lock = async |service: &Service| {
        let request = Request::post(service.addr(), "/distributed/lock/shared");
        request.json(&json!({"ttl": 60_000})).send().await
    };
    let held = lock(&it.one).await;
    assert_eq!(held.status, 200, "{}", held.text());
    assert_eq!(lock(&it.other).await.status, 409);
    let held = held.json();
    let release = Request::delete(it.other.addr(), "/distributed/lock/shared");
    let released = release.json(&json!({"token": held["token"]})).send().await;
    assert_eq!(released.status, 200, "the token counts, not the instance: {}", released.text());
    let next = lock(&it.other).await;
    assert_eq!(next.status, 200);
    assert!(next.json()["fence"].as_u64() > held["fence"].as_u64());
}

#[tokio::test]
async fn without_redis_both_serve_and_with_it_they_share_again() {
    let mut it = Instances::start().await;
    let user = created(&it.one, "ada@example.org", "Ada").await;
    let path = path_of(&user);
    assert_eq!(get(&it.other, &path).await.status, 200);
    it.redis.kill();
    for round in 0..50 {
        for service in [&it.one, &it.other] {
            assert_eq!(get(service, &path).await.status, 200, "round {round}");
            assert_eq!(get(service, "/distributed/ready").await.status, 200);
        }
        let written = patch(&it.one, &path, json!({"name": format!("Ada {round}")})).await;
        assert_eq!(written.status, 200, "{}", written.text());
        assert_eq!(get(&it.one, &path).await.json(), written.json(), "the writer reads its write");
    }
    eventually_async("the health check sees it", PATIENCE, async || {
        let health = get(&it.one, "/distributed/health").await;
        (health.status, &health.json()["status"]) == (200, &json!("degraded"))
    })
    .await;
    assert!(!connected(&it.one).await);
    it.redis.restart_empty().await;
    it.wait_until_connected().await;
    assert_eq!(patch(&it.other, &path, json!({"name": "Lovelace"})).await.status, 200);
    eventually_async("the write is read", PATIENCE, async || {
        get(&it.one, &path).await.json()["name"] == "Lovelace"
    })
    .await;
}

#[tokio::test]
async fn the_health_check_tells_within_seconds_however_seldom_others_are_made() {
    let mut it = Instances::with(|command| command.env("HEALTH_CHECK_INTERVAL", "1h")).await;
    let says = async |status: &str| {
        let check = async || get(&it.one, "/health").await.json()["checks"]["redis"].clone();
        eventually_async("the health check says so", SECONDS, async || check().await["status"] == status)
            .await;
        check().await["message"].clone()
    };
    says("healthy").await;
    it.redis.kill();
    assert!(says("degraded").await.as_str().unwrap().contains("no connection"));
    it.redis.restart_empty().await;
    says("healthy").await;
}

#[tokio::test]
async fn what_was_written_while_redis_was_gone_is_read_when_it_is_back() {
    let it = Instances::start().await;
    let user = created(&it.one, "ada@example.org", "Ada").await;
    let path = path_of(&user);
    for service in [&it.one, &it.other] {
        assert_eq!(get(service, &path).await.status, 200);
    }
    // Stopped, not killed: what it knows is what was true before.
    it.redis.pause();
    eventually_async("the store is given up", PATIENCE, async || !connected(&it.one).await).await;
    assert_eq!(patch(&it.one, &path, json!({"name": "Lovelace"})).await.status, 200);
    it.redis.resume();
    it.wait_until_connected().await;
    for service in [&it.one, &it.other] {
        eventually_async("nobody reads the old name", Duration::from_secs(20), async || {
            get(service, &path).await.json()["name"] == "Lovelace"
        })
        .await;
    }
}

#[tokio::test]
async fn only_one_instance_purges_and_another_takes_over() {
    let mut it = Instances::with(|command| {
        command.env("USERS_PURGE_AFTER", "0").env("USERS_PURGE_INTERVAL", "50ms").env("LOCK_TTL", "1s")
    })
    .await;
    let purged = async |service: &Service| metric(service, "users_purged_total").await;
    for number in 0..5 {
        let user = created(&it.one, &format!("user{number}@example.org"), "User").await;
        delete(&it.one, &path_of(&user)).await;
    }
    eventually_async("all are purged", PATIENCE, async || {
        purged(&it.one).await + purged(&it.other).await == 5
    })
    .await;
    let (by_one, by_other) = (purged(&it.one).await, purged(&it.other).await);
    assert!(by_one == 0 || by_other == 0, "{by_one} by one, {by_other} by the other");
    let leader = if by_one > 0 { &mut it.one } else { &mut it.other };
    leader.signal(mainstay_testkit::Signal::Kill);
    let _exit = leader.wait_exit(PATIENCE).await;
    let left = if by_one > 0 { &it.other } else { &it.one };
    let user = created(left, "late@example.org", "Late").await;
    delete(left, &path_of(&user)).await;
    eventually_async("the other purges", PATIENCE, async || purged(left).await == 1).await;
}

#[tokio::test]
async fn an_instance_that_finds_no_redis_starts_and_says_so() {
    let service = service().env("REDIS_HOST", "127.0.0.1").env("REDIS_PORT", "1").start().await;
    assert_eq!(get(&service, "/api/users").await.status, 200);
    assert!(service.output_so_far().contains("not connected"), "{}", service.output_so_far());
    let status = status(&service).await;
    assert_eq!((&status["connected"], &status["mode"]), (&json!(false), &json!("standalone")));
}

#[tokio::test]
async fn why_no_sentinel_and_no_seed_of_a_cluster_helps_is_in_the_log_once() {
    let redis = RedisServer::start().await;
    let plain = redis.address();
    for (url, reason) in [
        ("redis+sentinel://127.0.0.1:1/main".to_owned(), "refused"),
        (format!("redis+sentinel://{plain}/main"), "unknown command"),
        ("redis+cluster://127.0.0.1:1".to_owned(), "refused"),
        (format!("redis+cluster://{plain}"), "cluster support disabled"),
    ] {
        let service = service().env("REDIS_URL", &url).start().await;
        let output = service.output_so_far();
        let said = output.lines().filter(|line| line.contains("WARN") && line.contains(reason)).count();
        assert_eq!(said, 1, "{url} for {reason}:\n{output}");
    }
}

#[tokio::test]
async fn an_instance_that_stops_does_not_say_that_redis_is_gone() {
    let redis = RedisServer::start().await;
    let mut service = on(&redis).start().await;
    eventually_async("it is connected", PATIENCE, async || connected(&service).await).await;
    service.signal(mainstay_testkit::Signal::Term);
    let exit = service.wait_exit(PATIENCE).await;
    assert!(!exit.output.contains("Redis is gone"), "{}", exit.output);
}

#[tokio::test]
async fn a_redis_that_may_evict_locks_is_refused_unless_allowed() {
    let redis = RedisServer::builder().arg("--maxmemory-policy", "allkeys-lru").start().await;
    let exit = on(&redis).run(PATIENCE).await;
    assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
    for part in ["allkeys-lru", "REDIS_ALLOW_UNSAFE"] {
        assert!(exit.output.contains(part), "no {part} in {}", exit.output);
    }
    let allowed = on(&redis).env("REDIS_ALLOW_UNSAFE", "true").start().await;
    assert!(status(&allowed).await["findings"].to_string().contains("allkeys-lru"));
}

#[tokio::test]
async fn an_outage_is_a_few_lines_in_the_log_however_much_is_written() {
    let mut it = Instances::start().await;
    let path = path_of(&created(&it.one, "ada@example.org", "Ada").await);
    let complaints = || {
        let output = it.one.output_so_far();
        output.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR")).count()
    };
    let before = complaints();
    it.redis.kill();
    for round in 0..100 {
        let written = patch(&it.one, &path, json!({"name": format!("Ada {round}")})).await;
        assert_eq!(written.status, 200);
        get(&it.one, &path).await;
        let lock = Request::post(it.one.addr(), "/distributed/lock/shared").send().await;
        assert_eq!(lock.status, 503, "{}", lock.text());
    }
    let said = complaints() - before;
    assert!((1..20).contains(&said), "{said} lines:\n{}", it.one.output_so_far());
}

#[tokio::test]
async fn the_database_that_a_url_does_not_name_is_that_of_the_variable() {
    let redis = RedisServer::start().await;
    let service = service().env("REDIS_URL", redis.url()).env("REDIS_DB", "5").start().await;
    eventually_async("it is connected", PATIENCE, async || connected(&service).await).await;
    let lock = Request::post(service.addr(), "/distributed/lock/shared").json(&json!({"ttl": 60_000}));
    assert_eq!(lock.send().await.status, 200);
    let keys = redis.command(&["INFO", "keyspace"]).await;
    assert!(keys.contains("db5:") && !keys.contains("db0:"), "{keys}");
    let cluster = self::service().env("REDIS_URL", "redis+cluster://127.0.0.1:1").env("REDIS_DB", "5");
    let exit = cluster.run(PATIENCE).await;
    assert!(exit.output.contains("REDIS_DB"), "{}", exit.output);
    assert_eq!(exit.status.code(), Some(1));
}

#[cfg(not(feature = "redis-tls"))]
#[tokio::test]
async fn an_encrypted_connection_is_refused_by_a_build_without_it_and_never_left_out() {
    for (url, tls) in [("rediss://127.0.0.1:1", "false"), ("redis://127.0.0.1:1", "true")] {
        let exit = service().env("REDIS_URL", url).env("REDIS_TLS", tls).run(PATIENCE).await;
        assert_eq!(exit.status.code(), Some(1), "{url} {}", exit.output);
        assert!(exit.output.contains("redis-tls"), "{}", exit.output);
    }
}

#[cfg(feature = "redis-tls")]
#[tokio::test]
async fn two_instances_share_over_encrypted_connections() {
    let redis = RedisServer::builder().tls().start().await;
    let address = redis.tls_address();
    // Each of the ways to ask for it.
    let one = service().env("REDIS_URL", format!("redis://{address}")).env("REDIS_TLS", "true");
    let other = service().env("REDIS_URL", format!("rediss://{address}"));
    let mut instances = Vec::new();
    for command in [one, other] {
        let instance = command.env("REDIS_TLS_CA", redis.ca_certificate()).start().await;
        eventually_async("it is connected", PATIENCE, async || connected(&instance).await).await;
        instances.push(instance);
    }
    let lock = async |service: &Service| {
        let request = Request::post(service.addr(), "/distributed/lock/shared");
        request.json(&json!({"ttl": 60_000})).send().await.status
    };
    assert_eq!((lock(&instances[0]).await, lock(&instances[1]).await), (200, 409));
}
