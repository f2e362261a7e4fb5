//! Where an app listens: the second listener, ports that change while requests run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mainstay::ServeError;
use mainstay::axum::Router;
use mainstay::axum::routing::get;
use mainstay::http::{Routes, Rule};
use mainstay_http::probe_own;
use mainstay_testkit::eventually_async;
use mainstay_testkit::http::Request;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, Running, builder, closed, free_addr, ready, status};

fn hello() -> Router {
    Router::new().route("/hello", get(async || "hello"))
}

/// Asks again and again on one connection, as long as the server keeps it. How many answers came and
/// whether the last one said that it was the last.
async fn ask_while_kept(addr: SocketAddr, answered: &AtomicUsize, enough: &AtomicBool) -> bool {
    let mut stream = BufReader::new(TcpStream::connect(addr).await.unwrap());
    while !enough.load(Ordering::Relaxed) {
        stream.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let (mut line, mut leave) = (String::new(), false);
        while line != "\r\n" {
            line.clear();
            assert!(stream.read_line(&mut line).await.unwrap() > 0, "closed without an answer");
            leave |= line.eq_ignore_ascii_case("connection: close\r\n");
        }
        let mut body = [0; 5];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"hello");
        answered.fetch_add(1, Ordering::Relaxed);
        if leave {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_port_moves_the_listener_and_loses_no_request_of_kept_connections() {
    let running = Running::start(builder(&[]), hello()).await;
    let (answered, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let (addr, answered, enough) = (running.addr, Arc::clone(&answered), Arc::clone(&enough));
            tokio::spawn(async move { ask_while_kept(addr, &answered, &enough).await })
        })
        .collect();
    eventually_async("the clients are busy", PATIENCE, async || answered.load(Ordering::Relaxed) > 200).await;

    let new = free_addr();
    running.app.config().update("server.port", new.port()).unwrap();
    ready(new).await;
    for client in clients {
        assert!(client.await.unwrap(), "each client is told to leave");
    }
    closed(running.addr).await;
    assert_eq!(status(new, "/hello").await, 200);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_leaves_the_listener_where_it_is() {
    let running = Running::start(builder(&[]), hello()).await;
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    running.app.config().update("server.port", port).unwrap();
    // A later change shows that the failed one was dealt with.
    let new = free_addr();
    assert_eq!(status(running.addr, "/hello").await, 200);
    running.app.config().update("server.port", new.port()).unwrap();
    ready(new).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_port_changes_ends_at_the_last_one() {
    let running = Running::start(builder(&[]), hello()).await;
    let other = free_addr();
    for addr in [other, running.addr].repeat(20) {
        running.app.config().update("server.port", addr.port()).unwrap();
        // The way back is asked for as soon as the way there is open.
        eventually_async("it listens", PATIENCE, async || TcpStream::connect(addr).await.is_ok()).await;
    }
    ready(running.addr).await;
    closed(other).await;
    assert_eq!(status(running.addr, "/hello").await, 200);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_metrics_port_takes_from_the_main_port_what_is_not_for_everybody() {
    let metrics = free_addr();
    let port = metrics.port().to_string();
    let running = Running::start(builder(&[("METRICS_PORT", &port)]), hello()).await;
    assert_eq!(status(running.addr, "/hello").await, 200);
    assert_eq!(status(metrics, "/hello").await, 404);
    assert!(Request::get(metrics, "/metrics").send().await.text().contains("http_requests_total"));
    for path in ["live", "ready", "health"] {
        for addr in [running.addr, metrics] {
            assert_eq!(status(addr, &format!("/distributed/{path}")).await, 200, "{addr} {path}");
        }
    }
    assert_eq!(status(running.addr, "/metrics").await, 404);
    for path in ["metrics", "metrics/json", "config", "info", "redis/status", "rate-limit/test", "events"] {
        assert_eq!(status(running.addr, &format!("/distributed/{path}")).await, 404, "{path}");
        assert_ne!(status(metrics, &format!("/distributed/{path}")).await, 404, "{path}");
    }
    for (method, path) in
        [("POST", "cache/a"), ("DELETE", "cache/a"), ("POST", "lock/a"), ("POST", "events/a")]
    {
        let asked = Request::new(method, running.addr, format!("/distributed/{path}")).send().await;
        assert_eq!(asked.status, 404, "{method} {path}");
    }
    let document = Request::get(running.addr, "/openapi.json").send().await.text();
    assert!(!document.contains("/distributed/config") && document.contains("/distributed/live"));
    running.stop().await.unwrap();
    closed(metrics).await;
}

#[tokio::test]
async fn what_is_not_for_everybody_stays_off_the_main_port_also_without_metrics() {
    let second = free_addr();
    let port = second.port().to_string();
    let variables = [("METRICS_PORT", port.as_str()), ("METRICS_ENABLED", "false")];
    let running = Running::start(builder(&variables), hello()).await;
    for path in ["config", "info", "redis/status", "events"] {
        assert_eq!(status(running.addr, &format!("/distributed/{path}")).await, 404, "{path}");
        assert_eq!(status(second, &format!("/distributed/{path}")).await, 200, "{path}");
    }
    assert_eq!(status(second, "/metrics").await, 404);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_port_that_is_taken_is_named_with_its_own_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let app = builder(&[("PORT", "0"), ("METRICS_PORT", &port)]).start().await.unwrap();
    let error = app.serve(Routes::new()).await.unwrap_err();
    assert!(matches!(error, ServeError::Bind(_)) && error.to_string().contains("METRICS_PORT"), "{error}");
}

#[tokio::test]
async fn the_second_listener_is_on_loopback_wherever_the_main_one_is() {
    let metrics = free_addr();
    let port = metrics.port().to_string();
    let variables = [("METRICS_PORT", port.as_str()), ("HOST", "0.0.0.0")];
    let running = Running::start(builder(&variables), hello()).await;
    let elsewhere = |addr: SocketAddr| SocketAddr::from(([127, 0, 0, 2], addr.port()));
    assert_eq!(status(elsewhere(running.addr), "/hello").await, 200);
    assert_eq!(status(metrics, "/distributed/live").await, 200);
    assert!(TcpStream::connect(elsewhere(metrics)).await.is_err());
    running.stop().await.unwrap();
}

#[tokio::test]
async fn dropping_the_serve_future_closes_the_listeners() {
    let metrics = free_addr();
    let port = metrics.port().to_string();
    let running = Running::start(builder(&[("METRICS_PORT", &port)]), hello()).await;
    running.served.abort();
    closed(running.addr).await;
    closed(metrics).await;
    drop(running.app);
}

#[tokio::test]
async fn a_certificate_encrypts_the_main_listener_and_not_the_second_one_on_loopback() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) =
        (file("crt", issued.cert.pem()), file("key", issued.signing_key.serialize_pem()));
    let (addr, metrics) = (free_addr(), free_addr());
    let ports = [addr.port().to_string(), metrics.port().to_string()];
    let variables = [
        ("PORT", ports[0].as_str()),
        ("METRICS_PORT", &ports[1]),
        ("TLS_CERT", &certificate),
        ("TLS_KEY", &key),
    ];
    let app = builder(&variables).start().await.unwrap();
    let serving = app.clone();
    let served = tokio::spawn(async move { serving.serve(Routes::new().all(Rule::Public, hello())).await });
    ready(metrics).await;
    assert_eq!(probe_own(addr, true, "/hello", PATIENCE).await.unwrap(), b"hello");
    assert!(probe_own(addr, false, "/hello", PATIENCE).await.is_err(), "nothing is served in the clear");
    app.lifecycle().request_shutdown("the test is over");
    served.await.unwrap().unwrap();

    std::fs::write(&key, "").unwrap();
    let refused = builder(&variables)
        .start()
        .await
        .unwrap()
        .serve(Routes::new().all(Rule::Public, hello()))
        .await
        .unwrap_err();
    assert!(matches!(&refused, ServeError::Tls(_)) && refused.to_string().contains(&key), "{refused}");
}
