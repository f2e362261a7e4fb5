//! What whoever runs the service sees: health, metrics, configuration, logs.

use std::fs;
use std::io::ErrorKind;

use mainstay_testkit::http::{Request, SlowClients};
use mainstay_testkit::{Service, eventually_async, promtool};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{PATIENCE, create, created, empty_service, get, path_of, service};

#[tokio::test]
async fn live_ready_and_health_tell_the_truth() {
    // A server has its own disk.
    let service = crate::on_file().start().await;
    let live = get(&service, "/distributed/live").await;
    assert_eq!((live.status, live.json()["status"].clone()), (200, json!("alive")));
    assert!(live.json()["uptime"].is_u64() && live.json()["timestamp"].is_i64());
    let ready = get(&service, "/distributed/ready").await;
    assert_eq!((ready.status, ready.json()), (200, json!({"status": "ready"})));
    // The machine's disk may be nearly full, which degrades a service and is not its fault.
    let good = |check: &Value| check["status"] == "healthy" && check["responseTime"].is_number();
    let ran = |check: &Value| check["status"] == "degraded" && check["responseTime"].is_number();
    eventually_async("every check has run", PATIENCE, async || {
        let checks = &get(&service, "/health").await.json()["checks"];
        let own = ["database", "event-loop"].iter().all(|name| good(&checks[name]));
        own && ["memory", "disk"].iter().all(|name| good(&checks[name]) || ran(&checks[name]))
    })
    .await;
    let health = get(&service, "/distributed/health").await.json();
    assert!(health["status"] == "healthy" || !good(&health["checks"]["disk"]), "{health}");
    assert_eq!(health["metadata"]["serviceId"], "user-service");
    assert_eq!(health["metadata"]["environment"], "development");
}

#[tokio::test]
async fn the_sensitive_endpoints_answer_a_local_developer_only() {
    const SENSITIVE: [&str; 6] = [
        "/distributed/metrics",
        "/metrics",
        "/distributed/metrics/json",
        "/distributed/config",
        "/distributed/info",
        "/distributed/redis/status",
    ];
    let development = service().start().await;
    let production = crate::production().start().await;
    for path in SENSITIVE {
        assert_eq!(get(&development, path).await.status, 200, "{path}");
        let named = Request::get(development.addr(), path).header("host", "evil.example").send().await;
        assert_eq!(named.status, 401, "{path} by another name");
        let refused = get(&production, path).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert_eq!(refused.json()["type"], "urn:mainstay:problem:unauthorized");
    }
    for path in ["/distributed/live", "/distributed/ready", "/distributed/health"] {
        assert_eq!(get(&production, path).await.status, 200, "{path}");
    }
    let health = get(&production, "/distributed/health").await.json();
    assert_eq!(health.as_object().unwrap().len(), 1, "only the status is open: {health}");
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_name_the_process() {
    let service = service().start().await;
    let user = created(&service, "ada@example.org", "Ada").await;
    get(&service, &format!("/api/users/{}", user["id"].as_str().unwrap())).await;
    let text = get(&service, "/metrics").await.text();
    for series in [
        r#"http_requests_total{method="POST",route="/api/users",status="201"} 1"#,
        r#"http_requests_total{method="GET",route="/api/users/{id}",status="200"} 1"#,
        "process_resident_memory_bytes ",
        "db_pool_connections{",
        "db_query_duration_seconds_count",
    ] {
        assert!(text.contains(series), "no {series} in\n{text}");
    }
    let json = get(&service, "/distributed/metrics/json").await.json();
    assert!(json.to_string().contains("http_requests_total"));
    let open = Request::get(service.addr(), "/metrics")
        .header("accept", "application/openmetrics-text")
        .send()
        .await;
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(open.text().ends_with("# EOF\n"));
}

#[tokio::test]
async fn promtool_finds_nothing_to_complain_about() {
    let service = service().start().await;
    created(&service, "ada@example.org", "Ada").await;
    assert_eq!(promtool(&get(&service, "/metrics").await.text()), Ok(()));
}

#[tokio::test]
async fn info_config_and_redis_status_say_how_it_runs() {
    let service = service().env("REDIS_PASSWORD", "canary-hunter2").start().await;
    let info = get(&service, "/distributed/info").await.json();
    assert_eq!(info["service"]["name"], "user-service");
    let database =
        info["components"].as_array().unwrap().iter().find(|part| part["name"] == "database").unwrap();
    assert!(database["whenStoreIsDown"].as_str().unwrap().starts_with("refuse"));
    let config = get(&service, "/distributed/config").await;
    assert!(
        config.text().contains("env PORT") && !config.text().contains("canary-hunter2"),
        "{}",
        config.text()
    );
    let redis = get(&service, "/distributed/redis/status").await;
    assert_eq!(
        (redis.status, redis.json()["mode"].clone(), redis.json()["connected"].clone()),
        (200, json!("embedded"), json!(false))
    );
}

#[tokio::test]
async fn the_api_description_and_its_page_need_no_network() {
    let service = service().start().await;
    let document = get(&service, "/openapi.json").await;
    assert_eq!(document.header("content-type"), Some("application/json"));
    assert_eq!(document.header("cache-control"), Some("public, max-age=300"));
    let tag = document.header("etag").unwrap();
    let again = Request::get(service.addr(), "/openapi.json").header("if-none-match", tag).send().await;
    assert_eq!(again.status, 304);
    assert!(document.json()["paths"]["/api/users"].is_object());
    let page = get(&service, "/docs/").await;
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("https://"), "the page loads something from elsewhere");
}

fn write_config(dir: &TempDir, text: &str) {
    fs::write(dir.path().join("mainstay.toml"), text).unwrap();
}

/// A port that stays free until the service takes it: everybody else here listens on 127.0.0.1.
fn free_address() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap()
}

fn listen_on(address: std::net::SocketAddr) -> String {
    format!("[server]\nhost = \"{}\"\nport = {}\n", address.ip(), address.port())
}

#[tokio::test]
async fn a_changed_file_changes_the_port_without_losing_a_request() {
    let dir = TempDir::new().unwrap();
    write_config(&dir, "[server]\nport = 0\n");
    // An empty variable counts as unset, so that the file decides.
    let service = service().env("PORT", "").env("APP_ENV", "test").dir(dir.path()).start().await;
    let old = service.addr();
    // Somebody who asks all the time, first here and then there, and is always answered.
    let moved = free_address();
    let client = tokio::spawn(async move {
        let mut answered = 0;
        loop {
            match Request::get(old, "/distributed/live").try_send().await {
                Ok(response) => assert_eq!(response.status, 200),
                Err(error) => break (answered, error.kind()),
            }
            answered += 1;
        }
    });
    write_config(&dir, &listen_on(moved));
    eventually_async("the new port answers", PATIENCE, async || {
        Request::get(moved, "/distributed/live").try_send().await.is_ok_and(|response| response.status == 200)
    })
    .await;
    let (answered, end) = client.await.unwrap();
    assert!(answered > 0);
    // Refused as a rule; reset if the handshake ended in the microsecond in which the kernel closed the
    // socket. What was accepted is never dropped without an answer, which would be an unexpected end.
    assert!(matches!(end, ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset), "{end}");
}

#[tokio::test]
async fn a_port_that_is_taken_leaves_the_old_one_open_until_it_is_free() {
    let dir = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let wanted = taken.local_addr().unwrap();
    write_config(&dir, "[server]\nport = 0\n");
    let service = service().env("PORT", "").env("APP_ENV", "test").dir(dir.path()).start().await;
    write_config(&dir, &listen_on(wanted));
    eventually_async("the log says it stays", PATIENCE, async || {
        service.output_so_far().contains("staying on the old address")
    })
    .await;
    assert_eq!(get(&service, "/distributed/live").await.status, 200);
    drop(taken);
    eventually_async("it moves once the address is free", PATIENCE, async || {
        Request::get(wanted, "/distributed/live")
            .try_send()
            .await
            .is_ok_and(|response| response.status == 200)
    })
    .await;
}

#[tokio::test]
async fn a_broken_file_keeps_the_last_good_configuration_and_says_so() {
    let dir = TempDir::new().unwrap();
    write_config(&dir, "[log]\nlevel = \"info\"\n");
    let service = service().dir(dir.path()).start().await;
    write_config(&dir, "[log\nlevel = ");
    eventually_async("the log says so", PATIENCE, async || service.output_so_far().contains("mainstay.toml"))
        .await;
    assert_eq!(get(&service, "/distributed/live").await.status, 200);
    write_config(&dir, "[log]\nlevel = \"debug\"\n");
    eventually_async("the mended file counts", PATIENCE, async || {
        get(&service, "/distributed/config").await.text().contains("\"debug\"")
    })
    .await;
}

#[tokio::test]
async fn every_line_of_a_request_carries_its_id() {
    let service =
        service().env("APP_ENV", "test").env("LOG_FORMAT", "json").env("DEBUG", "db,http").start().await;
    let sent = Request::post(service.addr(), "/api/users")
        .bearer(&crate::admin())
        .header("x-request-id", "trace-me-1")
        .json(&json!({"email": "ada@example.org", "name": "Ada"}))
        .send()
        .await;
    assert_eq!((sent.status, sent.header("x-request-id")), (201, Some("trace-me-1")));
    let logged = |service: &Service| -> Vec<Value> {
        let lines = service.output_so_far();
        let lines = lines.lines().filter(|line| line.contains("trace-me-1"));
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    };
    eventually_async("the access line is there", PATIENCE, async || {
        logged(&service).iter().any(|line| line["target"] == "mainstay_http::access")
    })
    .await;
    let output = service.output_so_far();
    for line in output.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn work_that_outlives_its_request_is_logged_under_the_requests_id() {
    // Every statement counts as slow, and is logged as that.
    let service = service().env("LOG_FORMAT", "json").env("DB_SLOW_QUERY", "0").start().await;
    let path = path_of(&created(&service, "ada@example.org", "Ada").await);
    let read = Request::get(service.addr(), &path)
        .bearer(&crate::admin())
        .header("x-request-id", "reading")
        .send()
        .await;
    let change =
        Request::patch(service.addr(), &path).bearer(&crate::admin()).header("x-request-id", "changing");
    let changed = change.json(&json!({"name": "Lovelace"})).send().await;
    assert_eq!((read.status, changed.status), (200, 200));
    for (id, statement) in [("reading", "users.get"), ("changing", "users.update")] {
        eventually_async("the statement is logged with the id", PATIENCE, async || {
            let output = service.output_so_far();
            output.lines().any(|line| line.contains(&format!("\"{id}\"")) && line.contains(statement))
        })
        .await;
    }
}

#[tokio::test]
async fn a_thousand_silent_clients_do_not_keep_good_ones_waiting() {
    let service = service().env("APP_ENV", "test").env("MAX_CONNECTIONS_PER_CLIENT", "2000").start().await;
    let mut slow = SlowClients::open(service.addr(), 1_000, b"G").await;
    for number in 0..20 {
        let response =
            create(&service, json!({"email": format!("good{number}@example.org"), "name": "Good"})).await;
        assert_eq!(response.status, 201);
    }
    assert!(slow.still_open() > 0, "they were still there while the good ones were served");
}

#[tokio::test]
async fn health_as_a_command_asks_the_running_service() {
    let running = empty_service().await;
    let port = running.addr().port().to_string();
    let exit = service().arg("health").env("PORT", &port).run(PATIENCE).await;
    assert!(exit.status.success(), "{}", exit.output);
    drop(running);
    let exit = service().arg("health").env("PORT", &port).run(PATIENCE).await;
    assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
}
