//! The `/distributed/*` endpoints: what they say, and to whom.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::config::Config;
use mainstay_core::health::{Check, Health, HealthTasks, Identity, Options};
use mainstay_core::metrics::Metrics;
use mainstay_http::access::Access;
use mainstay_http::endpoint::{self, Component, Distributed, Exposure, Info};
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
    let health = Health::new(Options::default(), Identity::default());
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
    let state = Distributed {
        health: health.clone(),
        metrics: metrics.clone(),
        config: Config::for_tests([("redis.password", "canary")]),
        info,
        access,
    };
    let (routes, document) =
        endpoint::api(access, &Exposure::all()).with_state(Arc::new(state)).split_for_parts();
    let server = TestHost::start(routes.merge(endpoint::api_docs(&document))).await;
    let probes = health.start(&CancellationToken::new());
    Endpoints { server, health, metrics, _probes: probes }
}

impl Endpoints {
    async fn get(&self, path: &str) -> Response {
        Request::get(self.server.addr(), path).send().await
    }
}

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
    ] {
        let response = endpoints.get(path).await;
        assert_eq!((response.status, response.header("www-authenticate")), (401, Some("Bearer")), "{path}");
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
    for path in [
        "/distributed/live",
        "/distributed/ready",
        "/distributed/health",
        "/distributed/metrics",
        "/distributed/info",
    ] {
        assert!(document["paths"][path]["get"].is_object(), "{path}");
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
