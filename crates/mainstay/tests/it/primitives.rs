//! Cache, locks, rate limits and events as an app wires them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay::axum::Router;
use mainstay::axum::routing::get;
use mainstay::cache::{Cache, Ttl};
use mainstay::container::Dep;
use mainstay::event::{Event, Events};
use mainstay::lock::Locks;
use mainstay::rate_limit::{Quota, RateLimiter};
use mainstay::redis::fence::FencedStore;
use mainstay_testkit::http::Request;
use mainstay_testkit::redis::RedisServer;
use serde_json::Value;

use crate::support::{Running, builder, free_addr, status};

struct Leaning {
    cache: Dep<Cache>,
    locks: Dep<Locks>,
    limiter: Dep<RateLimiter>,
    events: Dep<Events>,
}

#[tokio::test]
async fn a_component_leans_on_the_same_cache_locks_limits_and_events_as_the_app() {
    let app = builder(&[])
        .provide(|container| {
            let build = |cache, locks, limiter, events| async { Leaning { cache, locks, limiter, events } };
            container.provide(build);
        })
        .start()
        .await
        .unwrap();
    let leaning: Arc<Leaning> = app.container().resolve().unwrap();

    app.cache().set("k", &7, Ttl::minutes(1)).await.unwrap();
    assert_eq!(leaning.cache.get::<i32>("k").await.unwrap(), Some(7));

    let guard = app.lock("k").acquire().await.unwrap();
    assert!(leaning.locks.lock("k").try_acquire().await.is_err());
    drop(guard);
    drop(leaning.locks.lock("k").try_acquire().await.unwrap());

    assert!(app.rate_limiter().check("k", Quota::per_minute(1)).await.unwrap().allowed);
    assert!(!leaning.limiter.check("k", Quota::per_minute(1)).await.unwrap().allowed);

    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |event: Event<i32>| {
        let heard = heard.clone();
        async move { heard.send(event.data).map_err(|_| "nobody listens") }
    };
    app.events().subscribe("k.happened", handler).await.unwrap();
    leaning.events.publish("k.happened", &9).await.unwrap();
    assert_eq!(hears.recv().await, Some(9));
}

#[tokio::test]
async fn two_apps_side_by_side_share_no_cache_lock_or_limit() {
    let (one, two) = (builder(&[]).start().await.unwrap(), builder(&[]).start().await.unwrap());
    one.cache().set("k", &7, Ttl::minutes(1)).await.unwrap();
    assert_eq!(two.cache().get::<i32>("k").await.unwrap(), None);
    let _held = one.lock("k").acquire().await.unwrap();
    drop(two.lock("k").try_acquire().await.unwrap());
    assert!(one.rate_limiter().check("k", Quota::per_minute(1)).await.unwrap().allowed);
    assert!(two.rate_limiter().check("k", Quota::per_minute(1)).await.unwrap().allowed);
}

#[tokio::test]
async fn what_was_published_is_handled_before_the_components_stop() {
    struct Ledger(Mutex<Vec<String>>);
    impl Ledger {
        fn note(&self, line: impl Into<String>) {
            self.0.lock().unwrap().push(line.into());
        }
    }
    let service = builder(&[]).provide(|container| {
        container.provide(|| async { Ledger(Mutex::default()) }).on_stop(|ledger: Dep<Ledger>| async move {
            ledger.note("component stopped");
            Ok::<_, Infallible>(())
        });
    });
    let running = Running::start(service, Router::new()).await;
    let ledger: Arc<Ledger> = running.app.container().resolve().unwrap();
    let (open, gate) = tokio::sync::watch::channel(false);
    let writer = Arc::clone(&ledger);
    let handler = move |event: Event<i32>| {
        let (ledger, mut gate) = (Arc::clone(&writer), gate.clone());
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            ledger.note(format!("handled {}", event.data));
        }
    };
    running.app.events().on("k.happened").concurrency(1).handle(handler).await.unwrap();
    for number in 0..3 {
        running.app.events().publish("k.happened", &number).await.unwrap();
    }
    let mut phase = running.app.lifecycle().phase();
    running.app.lifecycle().request_shutdown("now");
    phase.wait_for(|phase| *phase != mainstay::lifecycle::Phase::Running).await.unwrap();
    open.send(true).unwrap();
    running.stop().await.unwrap();
    let lines = ledger.0.lock().unwrap().clone();
    assert_eq!(lines, ["handled 0", "handled 1", "handled 2", "component stopped"]);
}

#[tokio::test]
async fn each_client_is_held_to_the_configured_limit_which_changes_at_run_time() {
    let addr = free_addr();
    let port = addr.port().to_string();
    let variables = [("RATE_LIMIT_MAX_REQUESTS", "2"), ("TRUSTED_PROXIES", "127.0.0.1"), ("PORT", &port)];
    let app = builder(&variables).start().await.unwrap();
    let routes = Router::new()
        .route("/api/hello", get(async || "hello"))
        .route_layer(app.client_rate_limit())
        .route("/free", get(async || "hello"));
    let running = Running::serve(app, addr, routes).await;
    let ask = async |client: &'static str| {
        Request::get(running.addr, "/api/hello").header("x-forwarded-for", client).send().await
    };

    assert_eq!(ask("203.0.113.1").await.status, 200);
    assert!(ask("203.0.113.1").await.header("ratelimit").unwrap().starts_with("\"api\";r=0;t="));
    let refused = ask("203.0.113.1").await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=1089).contains(&wait), "{wait}");
    assert_eq!(ask("203.0.113.2").await.status, 200, "another client");
    assert_eq!(status(running.addr, "/free").await, 200);
    assert_eq!(status(running.addr, "/distributed/live").await, 200);

    running.app.config().update("rate_limit.max_requests", 5).unwrap();
    mainstay_testkit::eventually_async("the new limit is in force", Duration::from_secs(30), async || {
        ask("203.0.113.3").await.header("ratelimit-policy") == Some("\"api\";q=5;w=900")
    })
    .await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn info_says_what_each_part_does_when_its_store_is_down() {
    let running = Running::start(builder(&[]), Router::new()).await;
    let info = Request::get(running.addr, "/distributed/info").send().await.json();
    let rule = |name: &str| {
        let parts = info["components"].as_array().unwrap();
        let part = parts.iter().find(|part| part["name"] == name).unwrap_or(&Value::Null);
        part["whenStoreIsDown"].as_str().unwrap_or_default().to_owned()
    };
    for (name, word) in
        [("cache", "local"), ("lock", "refuse"), ("rate_limit", "local"), ("events", "refuse")]
    {
        assert!(rule(name).starts_with(word), "{name}: {}", rule(name));
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn two_apps_on_one_redis_share_cache_locks_and_limits_and_its_connection_is_there_for_more() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let start = || builder(&[("REDIS_URL", url.as_str()), ("SERVICE_NAME", "shared")]).start();
    let (one, other) = (start().await.unwrap(), start().await.unwrap());

    one.cache().set("k", &7, Ttl::minutes(1)).await.unwrap();
    assert_eq!(other.cache().get::<i32>("k").await.unwrap(), Some(7));
    let guard = one.lock("k").acquire().await.unwrap();
    assert!(other.locks().lock("k").try_acquire().await.is_err());
    assert!(one.rate_limiter().check("k", Quota::per_minute(1)).await.unwrap().allowed);
    assert!(!other.rate_limiter().check("k", Quota::per_minute(1)).await.unwrap().allowed);

    let reports = FencedStore::new(one.redis().unwrap().clone(), "shared");
    reports.key("report").unwrap().set(guard.fence(), b"7 rows").await.unwrap();
    assert_eq!(reports.key("report").unwrap().get().await.unwrap().fence, guard.fence());
}

#[tokio::test]
async fn services_of_different_names_on_one_redis_share_nothing() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let start = |name: &'static str| builder(&[("REDIS_URL", url.as_str()), ("SERVICE_NAME", name)]).start();
    let (one, other) = (start("one").await.unwrap(), start("other").await.unwrap());
    one.cache().set("k", &7, Ttl::minutes(1)).await.unwrap();
    assert_eq!(other.cache().get::<i32>("k").await.unwrap(), None);
    let _held = one.lock("k").acquire().await.unwrap();
    drop(other.locks().lock("k").try_acquire().await.unwrap());
}

#[tokio::test]
async fn a_url_of_redis_that_is_none_is_named_and_its_password_is_not() {
    let refused = builder(&[("REDIS_URL", "redis://user:canary@host:port")]).start().await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("REDIS_URL") && text.contains("port") && !text.contains("canary"), "{text}");
}
