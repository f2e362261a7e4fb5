//! Sockets: time limits that fire, the connection cap, hostile clients, the drain.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mainstay_http::Limits;
use mainstay_testkit::eventually_async;
use mainstay_testkit::http::{Request, SlowClients, raw};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::TestHost;

const PATIENCE: Duration = Duration::from_secs(20);

fn hello() -> Router {
    Router::new().route("/hello", get(async || "hello"))
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// Reads until the server closes; the answer so far.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("the server should close the connection").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_is_closed_whatever_it_sent() {
    let server =
        TestHost::with_limits(hello(), limits(|limits| limits.header_timeout = Duration::from_millis(200)))
            .await;
    for start in ["", "G", "P", "PRI * HTT", "GET /hello HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(!answer.contains("200 OK"), "{start:?} was answered: {answer}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_last_answer() {
    let server =
        TestHost::with_limits(hello(), limits(|limits| limits.idle_timeout = Duration::from_millis(200)))
            .await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_closed() {
    let long = Router::new().route("/long", get(async || vec![b'x'; 64 << 20]));
    let server =
        TestHost::with_limits(long, limits(|limits| limits.request_timeout = Duration::from_millis(300)))
            .await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    eventually_async("the answer has begun", PATIENCE, async || {
        server.metrics.render(Default::default()).contains("http_requests_total")
    })
    .await;
    eventually_async("the connection is closed", PATIENCE, async || {
        server.metrics.render(Default::default()).contains("http_connections 0")
    })
    .await;
}

#[tokio::test]
async fn good_clients_are_answered_beside_a_thousand_that_sent_one_byte() {
    let all_from_here = limits(|limits| limits.max_connections_per_client = 2_000);
    let server = TestHost::with_limits(hello(), all_from_here).await;
    let slow = SlowClients::open(server.addr(), 1_000, b"G").await;
    for _ in 0..20 {
        let response = Request::get(server.addr(), "/hello").send().await;
        assert_eq!(response.status, 200);
    }
    drop(slow);
}

#[tokio::test]
async fn a_connection_above_the_cap_is_told_503_and_the_next_one_gets_its_place() {
    let server = TestHost::with_limits(hello(), limits(|limits| limits.max_connections = 2)).await;
    let slow = SlowClients::open(server.addr(), 2, b"G").await;
    eventually_async("the two connections are counted", PATIENCE, async || {
        server.metrics.render(Default::default()).contains("http_connections 2")
    })
    .await;
    let mut third = TcpStream::connect(server.addr()).await.unwrap();
    assert!(read_to_end(&mut third).await.starts_with("HTTP/1.1 503 "));
    drop(slow);
    eventually_async("a place is free again", PATIENCE, async || {
        Request::get(server.addr(), "/hello").send().await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_head_of_20_kb_is_read_and_one_of_40_kb_is_refused_with_431() {
    let server = TestHost::start(hello()).await;
    let long = "x".repeat(20_000);
    let response = Request::get(server.addr(), "/hello").header("x-long", &long).send().await;
    assert_eq!(response.status, 200);
    let head = format!("GET /hello HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(40_000));
    let answer = raw(server.addr(), head.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(Request::get(server.addr(), "/hello").send().await.status, 200);
}

#[tokio::test]
async fn a_head_of_100_fields_is_read_and_one_of_more_is_refused_with_431_in_both_versions() {
    let server = TestHost::start(hello()).await;
    let (mut client, _connection) = http2(&server).await;
    for (fields, status) in [(100, 200), (101, 431), (500, 431)] {
        let others: String = (1..fields).map(|field| format!("x-{field}: y\r\n")).collect();
        let head = format!("GET /hello HTTP/1.1\r\nhost: x\r\n{others}\r\n");
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes(), "{fields}");

        let mut request = http::Request::get("http://localhost/hello");
        for field in 0..fields {
            request = request.header(format!("x-{field}"), "y");
        }
        let answer = client.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{fields}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_http_end_in_400_or_a_closed_connection() {
    let server = TestHost::start(hello()).await;
    for garbage in
        ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET /a b c HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n"]
    {
        let answer = raw(server.addr(), garbage.as_bytes()).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 400 "), "{garbage:?}: {text}");
    }
    assert_eq!(Request::get(server.addr(), "/hello").send().await.status, 200);
}

#[tokio::test]
async fn an_occupied_port_is_named_with_what_to_do() {
    let server = TestHost::start(hello()).await;
    let error = server.host.listen(server.addr(), hello()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&server.addr().to_string()) && text.contains("set PORT"), "{text}");
}

/// A route that tells when a request arrived and answers when it is told to.
fn gated() -> (Router, tokio::sync::mpsc::UnboundedReceiver<()>, tokio::sync::watch::Sender<bool>) {
    let (arrived, arrivals) = tokio::sync::mpsc::unbounded_channel();
    let (open, gate) = tokio::sync::watch::channel(false);
    let handler = async move || {
        arrived.send(()).unwrap();
        let mut gate = gate.clone();
        gate.wait_for(|open| *open).await.unwrap();
        "late"
    };
    (Router::new().route("/gated", post(handler)), arrivals, open)
}

#[tokio::test]
async fn a_drain_answers_every_request_in_flight_and_takes_no_new_connection() {
    let (routes, mut arrivals, gate) = gated();
    let server = TestHost::start(routes).await;
    let addr = server.addr();
    let clients: Vec<_> = (0..100)
        .map(|_| tokio::spawn(async move { Request::post(addr, "/gated").send().await.status }))
        .collect();
    for _ in 0..100 {
        arrivals.recv().await.unwrap();
    }
    server.listening.stop_accepting();
    eventually_async("the socket is closed", PATIENCE, async || TcpStream::connect(addr).await.is_err())
        .await;
    gate.send(true).unwrap();
    for client in clients {
        assert_eq!(client.await.unwrap(), 200);
    }
    assert_eq!(server.listening.drain(PATIENCE).await, Ok(()));
}

#[tokio::test]
async fn a_drain_answers_clients_that_connected_before_the_server_heard_of_them() {
    use std::io::{Read, Write};
    let server = TestHost::start(hello()).await;
    // The runtime has one thread, and this code holds it: the kernel has all of them, the server none.
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let mut client = std::net::TcpStream::connect(server.addr()).unwrap();
            client.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            client
        })
        .collect();
    assert_eq!(server.listening.drain(PATIENCE).await, Ok(()));
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test]
async fn a_drain_past_its_deadline_closes_what_is_left_and_counts_it() {
    let (routes, mut arrivals, _gate) = gated();
    let server = TestHost::start(routes).await;
    let addr = server.addr();
    let client = tokio::spawn(async move { raw(addr, b"POST /gated HTTP/1.1\r\nhost: x\r\n\r\n").await });
    arrivals.recv().await.unwrap();
    let unfinished = server.listening.drain(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(unfinished.connections, 1);
    assert!(client.await.unwrap().is_empty());
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_a_drain() {
    let server = TestHost::start(hello()).await;
    let mut idle = TcpStream::connect(server.addr()).await.unwrap();
    idle.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 1024];
    assert!(idle.read(&mut answer).await.unwrap() > 0);
    let silent = TcpStream::connect(server.addr()).await.unwrap();
    assert_eq!(server.listening.drain(PATIENCE).await, Ok(()));
    drop(silent);
}

#[tokio::test]
async fn a_request_on_its_way_on_a_kept_connection_when_the_drain_begins_is_answered() {
    let server = TestHost::start(hello()).await;
    let mut kept = TcpStream::connect(server.addr()).await.unwrap();
    kept.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 1024];
    assert!(kept.read(&mut answer).await.unwrap() > 0);
    server.listening.stop_accepting();
    eventually_async("the socket is closed", PATIENCE, async || {
        TcpStream::connect(server.addr()).await.is_err()
    })
    .await;
    kept.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut kept).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn dropping_the_listening_closes_everything() {
    let server = TestHost::start(hello()).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(b"GET").await.unwrap();
    let addr = server.addr();
    drop(server.listening);
    assert_eq!(read_to_end(&mut stream).await, "");
    eventually_async("the port is free", PATIENCE, async || TcpStream::connect(addr).await.is_err()).await;
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_understood() {
    let server = TestHost::start(hello()).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    // The connection preface and an empty SETTINGS frame; the server answers with its own SETTINGS.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame[3], 4, "a SETTINGS frame comes first");
}

/// An HTTP/2 client, and the task of its connection, which ends when the server closes it.
async fn http2(
    server: &TestHost,
) -> (hyper::client::conn::http2::SendRequest<Body>, tokio::task::JoinHandle<()>) {
    let stream = TcpStream::connect(server.addr()).await.unwrap();
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (client, tokio::spawn(async move { drop(connection.await) }))
}

async fn ask(client: &mut hyper::client::conn::http2::SendRequest<Body>) -> http::Response<Incoming> {
    client.send_request(http::Request::get("http://localhost/").body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_http2_client_that_does_nothing_more_is_closed() {
    let long = Router::new().route("/", get(async || vec![b'x'; 1 << 20]));
    let server = TestHost::with_limits(
        long,
        limits(|limits| {
            limits.request_timeout = Duration::from_millis(200);
            limits.idle_timeout = Duration::from_millis(200);
            limits.header_timeout = Duration::from_millis(200);
        }),
    )
    .await;
    let (mut idle, idle_closed) = http2(&server).await;
    assert_eq!(ask(&mut idle).await.into_body().collect().await.unwrap().to_bytes().len(), 1 << 20);
    let (mut stalling, stalling_closed) = http2(&server).await;
    let unread = ask(&mut stalling).await;
    for closed in [idle_closed, stalling_closed] {
        tokio::time::timeout(PATIENCE, closed).await.expect("the server should close").unwrap();
    }
    drop((idle, stalling, unread));
}

#[tokio::test]
async fn answers_of_announced_length_are_none_that_a_client_took_back() {
    let announced = get(async || {
        let parts = futures_util::stream::iter(["he", "llo"].map(Ok::<_, std::io::Error>));
        ([(http::header::CONTENT_LENGTH, "5")], Body::from_stream(parts))
    });
    let server = TestHost::start(Router::new().route("/", announced)).await;
    let stream = TcpStream::connect(server.addr()).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream)).await.unwrap();
    let _connection = tokio::spawn(async move { drop(connection.await) });
    for round in 0..200 {
        client.ready().await.unwrap_or_else(|error| panic!("{round}: {error}"));
        let request = http::Request::get("/").header("host", "x").body(Body::empty()).unwrap();
        let answer = client.send_request(request).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(answer.to_bytes(), "hello", "{round}");
    }
}

#[tokio::test]
async fn an_http2_answer_in_one_piece_that_is_taken_steadily_is_not_cut() {
    let long = Router::new().route("/", get(async || vec![b'x'; 2 << 20]));
    let server = TestHost::with_limits(
        long,
        limits(|limits| {
            limits.request_timeout = Duration::from_millis(500);
            limits.idle_timeout = Duration::from_millis(200);
            limits.header_timeout = Duration::from_millis(200);
        }),
    )
    .await;
    let stream = TcpStream::connect(server.addr()).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1 << 16)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let _connection = tokio::spawn(async move { drop(connection.await) });
    let mut body = ask(&mut client).await.into_body();
    let mut taken = 0;
    while let Some(frame) = body.frame().await {
        taken += frame.expect("the answer goes on").into_data().map_or(0, |data| data.len());
        // In all many times as long as an idle connection may last.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(taken, 2 << 20);
}

#[tokio::test]
async fn an_http2_answer_that_comes_slowly_from_the_server_is_not_cut() {
    let slow = Router::new().route(
        "/",
        get(async || {
            Body::from_stream(futures_util::stream::once(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok::<_, std::io::Error>("at last")
            }))
        }),
    );
    let server =
        TestHost::with_limits(slow, limits(|limits| limits.request_timeout = Duration::from_millis(100)))
            .await;
    let (mut client, _connection) = http2(&server).await;
    assert_eq!(ask(&mut client).await.into_body().collect().await.unwrap().to_bytes(), "at last");
}
