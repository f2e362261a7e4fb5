//! How the service stops.

use std::time::Duration;

use mainstay_testkit::http::Request;
use mainstay_testkit::{Service, Signal, eventually_async};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{PATIENCE, empty_service, get, service};

#[tokio::test]
async fn sigterm_and_ctrl_c_drain_and_exit_0() {
    for signal in [Signal::Term, Signal::Int] {
        let mut service = empty_service().await;
        service.signal(signal);
        let exit = service.wait_exit(PATIENCE).await;
        assert!(exit.status.success(), "{signal:?}: {}", exit.output);
    }
}

/// A POST whose body is held back: in flight until [`finish`].
async fn begin(service: &Service, number: usize) -> (TcpStream, Vec<u8>) {
    let body = json!({"email": format!("flight{number}@example.org"), "name": "In flight"}).to_string();
    let head = format!(
        "POST /api/users HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        crate::admin(),
        body.len()
    );
    let mut stream = TcpStream::connect(service.addr()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    (stream, body.into_bytes())
}

async fn finish((mut stream, body): (TcpStream, Vec<u8>)) -> String {
    stream.write_all(&body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn all_of_100_requests_in_flight_are_answered_after_sigterm() {
    let mut service = service().env("DRAIN_DELAY", "300ms").start().await;
    let mut flying = Vec::new();
    for number in 0..100 {
        flying.push(begin(&service, number).await);
    }
    eventually_async("100 requests are in flight", PATIENCE, async || in_flight(&service).await == 101).await;
    service.signal(Signal::Term);
    eventually_async("the service is draining", PATIENCE, async || {
        get(&service, "/distributed/ready").await.status == 503
    })
    .await;
    for request in flying {
        let answer = finish(request).await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    }
    let exit = service.wait_exit(PATIENCE).await;
    assert!(exit.status.success(), "{}", exit.output);
}

/// Requests in flight as the metrics see them, the one that asks included.
async fn in_flight(service: &Service) -> usize {
    // Metrics answer a developer only.
    let text = get(service, "/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix("http_requests_in_flight "));
    line.and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn while_draining_it_is_not_ready_but_alive_and_still_serves() {
    let mut service = service().env("APP_ENV", "test").env("DRAIN_DELAY", "60s").start().await;
    service.signal(Signal::Term);
    eventually_async("it is not ready", PATIENCE, async || {
        get(&service, "/distributed/ready").await.status == 503
    })
    .await;
    assert_eq!(get(&service, "/distributed/ready").await.json()["failedChecks"], json!(["draining"]));
    assert_eq!(get(&service, "/distributed/live").await.status, 200);
    assert_eq!(get(&service, "/api/users").await.status, 200);
    // A second signal does not wait for the minute.
    service.signal(Signal::Term);
    let exit = service.wait_exit(Duration::from_secs(20)).await;
    assert!(!exit.status.success(), "stopping at once is not a clean end");
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_at_the_shutdown_timeout_and_named() {
    let mut service = service().env("APP_ENV", "test").env("SHUTDOWN_TIMEOUT", "500ms").start().await;
    let (mut stream, _) = begin(&service, 0).await;
    service.signal(Signal::Term);
    let exit = service.wait_exit(PATIENCE).await;
    assert!(exit.output.contains("requests in flight"), "{}", exit.output);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_killed_service_starts_again_on_what_it_had_written() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut first = service().env("APP_ENV", "test").dir(dir.path()).start().await;
    for number in 0..20 {
        crate::created(&first, &format!("user{number}@example.org"), "User").await;
    }
    first.signal(Signal::Kill);
    first.wait_exit(PATIENCE).await;
    let second = service().env("APP_ENV", "test").dir(dir.path()).start().await;
    let users =
        Request::get(second.addr(), "/api/users?limit=100").bearer(&crate::admin()).send().await.json();
    assert_eq!(users["items"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn a_write_whose_client_hung_up_is_in_the_trail_although_it_ends_during_the_shutdown() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = crate::on_file().dir(dir.path()).start().await;
    // What the service writes by itself at its start.
    for statement in ["users.due", "idempotency.purge"] {
        let done = format!(r#"db_query_duration_seconds_count{{outcome="ok",statement="{statement}"}}"#);
        eventually_async(statement, PATIENCE, async || crate::metric(&service, &done).await > 0).await;
    }
    let file = dir.path().join("data/user-service.db");
    let db = mainstay::sql::Database::connect(mainstay::sql::Options::sqlite(file)).await.unwrap();
    // Holds up every other writer.
    let writing = db.begin().await.unwrap();
    let (mut stream, body) = begin(&service, 0).await;
    stream.write_all(&body).await.unwrap();
    let waits = r#"db_pool_connections{pool="writer",state="in_use"}"#;
    eventually_async("the write waits", PATIENCE, async || crate::metric(&service, waits).await == 1).await;
    drop(stream);
    service.signal(Signal::Term);
    let stopping = async || service.output_so_far().contains("StopComponents");
    eventually_async("components stop", PATIENCE, stopping).await;
    writing.rollback().await.unwrap();
    let exit = service.wait_exit(PATIENCE).await;
    assert!(exit.status.success(), "{}", exit.output);
    let count = async |sql| db.query(sql).fetch_one().await.unwrap().get::<i64>("n").unwrap();
    // With those of the seed.
    assert_eq!(count("SELECT COUNT(*) AS n FROM users").await, 4, "{}", exit.output);
    // What this one did not get to, the next does.
    let _next = crate::on_file().dir(dir.path()).start().await;
    eventually_async("all are in the trail", PATIENCE, async || {
        count("SELECT COUNT(*) AS n FROM user_audit").await == 4
    })
    .await;
}
