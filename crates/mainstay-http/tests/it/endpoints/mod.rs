//! The `/distributed/*` endpoints: what they say, and to whom. Those of a primitive have a file each.

mod breakers;
mod cache;
mod events;
mod lock;
mod outages;
mod rate_limit;

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::breaker::Breakers;
use mainstay_core::cache::Cache;
use mainstay_core::config::Config;
use mainstay_core::event::Events;
use mainstay_core::health::{self, Check, Health, HealthTasks, Identity};
use mainstay_core::lock::Locks;
use mainstay_core::metrics::Metrics;
use mainstay_core::rate_limit::RateLimiter;
use mainstay_core::time::Clock;
use mainstay_http::access::Access;
use mainstay_http::endpoint::{self, Component, Distributed, EventBus, Exposure, Info, StoreStatus};
use mainstay_http::{http_check, probe};
use mainstay_testkit::eventually_async;
use mainstay_testkit::http::{Request, Response};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::TestHost;

const PATIENCE: Duration = Duration::from_secs(20);

struct Endpoints {
    server: TestHost,
    health: Health,
    metrics: Metrics,
    _probes: HealthTasks,
}

async fn endpoints(development: bool) -> Endpoints {
    endpoints_with(development, |_| {}).await
}

async fn endpoints_with(development: bool, change: impl FnOnce(&mut Distributed)) -> Endpoints {
    let health = Health::new(health::Options::default(), Identity::default());
    let metrics = Metrics::new();
    let info = Info {
        service: "test-service".to_owned(),
        version: "1.2.3".to_owned(),
        environment: "development".to_owned(),
        instance_id: "i-1".to_owned(),
        region: None,
        zone: None,
        started_at: jiff::Timestamp::now(),
        components: vec![Component::new("cache", "memory", "local: serves what this process knows")],
    };
    let access = Access::new(development);
    let mut state = Distributed {
        health: health.clone(),
        metrics: metrics.clone(),
        config: Config::for_tests([("redis.password", "canary")]),
        info,
        access: access.clone(),
        redis: StoreStatus::embedded(),
        cache: Cache::in_memory(Default::default(), &metrics, Clock::system()),
        locks: Locks::in_memory(Default::default(), &metrics, Clock::system()),
        rate_limiter: RateLimiter::in_memory(Default::default(), &metrics, Clock::system()),
        breakers: Breakers::new(&metrics, Clock::system()),
        events: Events::in_memory(Default::default(), &metrics, Clock::system()),
        event_bus: EventBus::new("memory"),
    };
    change(&mut state);
    let (routes, document) =
        endpoint::api(access, &Exposure::all()).with_state(Arc::new(state)).split_for_parts();
    let server = TestHost::start(routes.merge(endpoint::api_docs(&document))).await;
    let probes = health.start(&CancellationToken::new());
    Endpoints { server, health, metrics, _probes: probes }
}

impl Endpoints {
    async fn get(&self, path: &str) -> Response {
        self.send("GET", path, None).await
    }

    async fn send(&self, method: &str, path: &str, body: Option<&str>) -> Response {
        let request = Request::new(method, self.server.addr(), path);
        match body {
            Some(body) => request.header("content-type", "application/json").body(body).send().await,
            None => request.send().await,
        }
    }
}

/// A problem of this type, and where it names one, of this field.
#[track_caller]
fn assert_problem(response: &Response, status: u16, kind: &str, field: Option<&str>) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let body = response.json();
    assert_eq!(body["type"], format!("urn:mainstay:problem:{kind}"), "{body}");
    assert_eq!(body["errors"][0]["field"].as_str(), field, "{body}");
}

/// Names that are hostile where names become keys, paths or header lines: as in a path, and as they are.
const NASTY: [(&str, &str); 9] = [
    ("%7B%7D*", "{}*"),
    ("{}*", "{}*"),
    ("a%0D%0Aset-cookie:%20x=1", "a\r\nset-cookie: x=1"),
    ("a%00b", "a\0b"),
    ("..%2f..%2fetc", "../../etc"),
    ("%2e%2e", ".."),
    ("..", ".."),
    ("%25", "%"),
    ("%C3%A9", "é"),
];

#[tokio::test]
async fn live_is_alive_until_poisoned() {
    let endpoints = endpoints(true).await;
    let live = endpoints.get("/distributed/live").await;
    assert_eq!((live.status, live.json()["status"].clone()), (200, json!("alive")));
    endpoints.health.poison("the disk is gone");
    let dead = endpoints.get("/distributed/live").await;
    assert_eq!((dead.status, dead.json()["status"].clone()), (503, json!("dead")));
}

#[tokio::test]
async fn ready_names_what_is_missing() {
    let endpoints = endpoints(true).await;
    let starting = endpoints.get("/distributed/ready").await;
    assert_eq!(
        (starting.status, starting.json()),
        (503, json!({"status": "not ready", "failedChecks": ["starting"]}))
    );
    endpoints.health.set_started(true);
    let ready = endpoints.get("/distributed/ready").await;
    assert_eq!((ready.status, ready.json()), (200, json!({"status": "ready"})));
    assert_eq!(ready.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_failing_critical_check_is_503_for_health_and_nothing_for_live_and_ready() {
    let endpoints = endpoints(true).await;
    endpoints.health.set_started(true);
    endpoints
        .health
        .register(Check::new("database", || async { Err::<(), _>("refused") }).critical())
        .unwrap();
    eventually_async("the check has failed", PATIENCE, async || {
        endpoints.get("/distributed/health").await.status == 503
    })
    .await;
    let health = endpoints.get("/health").await.json();
    assert_eq!(
        (&health["status"], &health["checks"]["database"]["message"]),
        (&json!("unhealthy"), &json!("refused"))
    );
    assert_eq!(endpoints.get("/distributed/live").await.status, 200);
    assert_eq!(endpoints.get("/distributed/ready").await.status, 200);
    let draft = Request::get(endpoints.server.addr(), "/distributed/health")
        .header("accept", "application/health+json")
        .send()
        .await;
    assert_eq!((draft.status, draft.header("content-type")), (503, Some("application/health+json")));
    assert_eq!(draft.json()["status"], "fail");
}

#[tokio::test]
async fn without_permission_health_tells_its_status_and_no_more() {
    let endpoints = endpoints(false).await;
    endpoints.health.register(Check::new("database", || async { Err::<(), _>("refused") })).unwrap();
    eventually_async("the check has failed", PATIENCE, async || {
        endpoints.get("/distributed/health").await.json() == json!({"status": "degraded"})
    })
    .await;
}

#[tokio::test]
async fn without_permission_the_sensitive_endpoints_are_401() {
    let endpoints = endpoints(false).await;
    for path in [
        "/distributed/config",
        "/distributed/info",
        "/distributed/metrics",
        "/metrics",
        "/distributed/metrics/json",
        "/distributed/redis/status",
        "/distributed/cache/a",
        "/distributed/events",
        "/distributed/rate-limit/test",
    ] {
        let response = endpoints.get(path).await;
        assert_eq!((response.status, response.header("www-authenticate")), (401, Some("Bearer")), "{path}");
    }
    for (method, path, body) in [
        ("POST", "/distributed/cache/a", Some(r#"{"value":1}"#)),
        ("DELETE", "/distributed/cache/a", None),
        ("POST", "/distributed/lock/a", None),
        ("DELETE", "/distributed/lock/a", None),
        ("POST", "/distributed/events/a", None),
        ("POST", "/distributed/events/dead-letters/a/redrive", None),
    ] {
        assert_eq!(endpoints.send(method, path, body).await.status, 401, "{method} {path}");
    }
}

#[tokio::test]
async fn metrics_come_in_the_format_asked_for() {
    let endpoints = endpoints(true).await;
    endpoints.metrics.counter("jobs_total").increment(3);
    let text = endpoints.get("/metrics").await;
    assert!(text.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(text.text().contains("jobs_total 3"));
    let open = Request::get(endpoints.server.addr(), "/metrics")
        .header("accept", "application/openmetrics-text;version=1.0.0")
        .send()
        .await;
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(open.text().ends_with("# EOF\n"));
    assert!(endpoints.get("/distributed/metrics/json").await.text().contains("jobs_total"));
}

#[tokio::test]
async fn config_and_info_show_how_it_runs_and_no_secret() {
    let endpoints = endpoints(true).await;
    let config = endpoints.get("/distributed/config").await;
    assert!(config.text().contains("command line") && !config.text().contains("canary"), "{}", config.text());
    let info = endpoints.get("/distributed/info").await.json();
    assert_eq!(info["service"]["version"], "1.2.3");
    assert_eq!(
        info["components"][0],
        json!({"name": "cache", "backend": "memory", "whenStoreIsDown": "local: serves what this process knows"})
    );
}

#[tokio::test]
async fn redis_status_is_embedded_without_redis() {
    let status = endpoints(true).await.get("/distributed/redis/status").await;
    assert_eq!((status.status, status.json()["mode"].clone()), (200, json!("embedded")));
}

#[tokio::test]
async fn the_api_description_names_every_endpoint() {
    let document = endpoints(false).await.get("/openapi.json").await.json();
    for (path, method) in [
        ("/distributed/live", "get"),
        ("/distributed/ready", "get"),
        ("/distributed/health", "get"),
        ("/distributed/metrics", "get"),
        ("/distributed/info", "get"),
        ("/distributed/cache/{key}", "get"),
        ("/distributed/cache/{key}", "post"),
        ("/distributed/cache/{key}", "delete"),
        ("/distributed/lock/{key}", "post"),
        ("/distributed/lock/{key}", "delete"),
        ("/distributed/rate-limit/test", "get"),
        ("/distributed/events/{channel}", "post"),
    ] {
        assert!(document["paths"][path][method].is_object(), "{method} {path}");
    }
}

#[tokio::test]
async fn an_http_check_passes_on_2xx_and_says_what_else_came() {
    let target = endpoints(true).await;
    let url = |path: &str| format!("http://{}{path}", target.server.addr());
    assert!(probe(&url("/distributed/live"), PATIENCE).await.is_ok());
    assert_eq!(probe(&url("/nowhere"), PATIENCE).await.unwrap_err().to_string(), "answered 404 Not Found");
    assert!(probe("ftp://x", PATIENCE).await.unwrap_err().to_string().contains("http://"));
    let observer = endpoints(true).await;
    observer.health.register(http_check("neighbour", url("/distributed/live"))).unwrap();
    observer.health.register(http_check("missing", url("/nowhere"))).unwrap();
    eventually_async("both checks have run", PATIENCE, async || {
        let checks = observer.health.report().checks;
        checks["neighbour"].last_checked.is_some() && checks["missing"].last_checked.is_some()
    })
    .await;
    let checks = observer.health.report().checks;
    assert_eq!(checks["neighbour"].message, None);
    assert_eq!(checks["missing"].message.as_deref(), Some("answered 404 Not Found"));
}

#[tokio::test]
async fn a_probe_of_a_silent_server_ends_at_its_deadline() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let error = probe(&url, Duration::from_millis(50)).await.unwrap_err();
    assert!(error.to_string().contains("no answer within"), "{error}");
}

#[tokio::test]
async fn a_name_in_the_path_is_any_text_and_nothing_else() {
    let endpoints = endpoints(true).await;
    let long = "k".repeat(1 << 20);
    for (method, path) in [
        ("GET", "/distributed/cache/"),
        ("DELETE", "/distributed/cache/"),
        ("POST", "/distributed/lock/"),
        ("DELETE", "/distributed/lock/"),
        ("POST", "/distributed/events/"),
    ] {
        assert_problem(&endpoints.send(method, path, None).await, 404, "not-found", None);
        for bytes in ["%ff", "a%C3", "%ed%a0%80"] {
            let response = endpoints.send(method, &format!("{path}{bytes}"), None).await;
            assert_problem(&response, 400, "bad-request", None);
        }
        let response = endpoints.send(method, &format!("{path}{long}"), None).await;
        assert!([414, 431].contains(&response.status), "{method} {path}: {}", response.status);
        let response = endpoints.send("PUT", &format!("{path}a"), None).await;
        assert_problem(&response, 405, "method-not-allowed", None);
    }
}

#[tokio::test]
async fn a_key_longer_than_keys_may_be_is_422() {
    let endpoints = endpoints(true).await;
    let long = "k".repeat(2049);
    let token = format!(r#"{{"token":"{}"}}"#, "0".repeat(32));
    for (method, primitive, body) in [
        ("GET", "cache", None),
        ("POST", "cache", Some(r#"{"value":1}"#)),
        ("DELETE", "cache", None),
        ("POST", "lock", None),
        ("DELETE", "lock", Some(token.as_str())),
    ] {
        let response = endpoints.send(method, &format!("/distributed/{primitive}/{long}"), body).await;
        assert_problem(&response, 422, "validation", Some("key"));
    }
}
