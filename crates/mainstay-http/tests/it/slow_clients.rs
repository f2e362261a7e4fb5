//! Clients that are slow, greedy or both: how long they are borne, and that it is told why they were not.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use futures_util::StreamExt;
use mainstay_http::{Limits, TrustedProxies};
use mainstay_testkit::eventually_async;
use mainstay_testkit::http::{Request, SlowClients};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::TestHost;

const PATIENCE: Duration = Duration::from_secs(20);
const GET: &[u8] = b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n";

/// Limits that no honest client of a test meets but by being slow on purpose.
fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

fn routes() -> Router {
    Router::new()
        .route("/hello", get(async || "hello"))
        .route("/raw", post(async |body: bytes::Bytes| body.len().to_string()))
        .route("/ignore", post(async || "not read"))
        .route(
            "/stream",
            post(async |body: Body| Body::from_stream(body.into_data_stream().map(|part| part))),
        )
}

async fn start(change: impl FnOnce(&mut Limits)) -> TestHost {
    TestHost::with_limits(routes(), limits(change)).await
}

async fn ended(server: &TestHost, reason: &str, times: u64) {
    eventually_async(&format!("{times} ended by {reason}"), PATIENCE, async || {
        server.count(&format!("http_connections_ended_total{{reason=\"{reason}\"}}")) == times
    })
    .await;
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("the server should close the connection").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn it_is_told_whether_nothing_came_or_half_a_head() {
    let server = start(|limits| limits.header_timeout = Duration::from_millis(100)).await;
    let mut slow = SlowClients::open(server.addr(), 3, b"").await;
    let mut slower = SlowClients::open(server.addr(), 2, b"GET / HTTP/1.1\r\n").await;
    eventually_async("all are closed", PATIENCE, async || slow.still_open() + slower.still_open() == 0).await;
    ended(&server, "first_byte", 3).await;
    ended(&server, "header", 2).await;
}

#[tokio::test]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let server = start(|limits| limits.header_timeout = Duration::from_millis(100)).await;
    let mut idle = TcpStream::connect(server.addr()).await.unwrap();
    let mut half = TcpStream::connect(server.addr()).await.unwrap();
    for stream in [&mut idle, &mut half] {
        stream.write_all(GET).await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
    }
    half.write_all(b"GET /hel").await.unwrap();
    ended(&server, "header", 1).await;
    assert_eq!(half.read(&mut [0; 1]).await.unwrap_or(0), 0);
    // Idle for longer by then, and still served.
    idle.write_all(GET).await.unwrap();
    assert!(idle.read(&mut [0; 1024]).await.unwrap() > 0);
    assert_eq!(server.count(r#"http_connections_ended_total{reason="idle"}"#), 0);
}

#[tokio::test]
async fn an_idle_connection_ends_in_order_and_is_counted() {
    let server = start(|limits| limits.idle_timeout = Duration::from_millis(100)).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(GET).await.unwrap();
    assert!(read_to_end(&mut stream).await.ends_with("hello"));
    ended(&server, "idle", 1).await;
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408_and_the_end() {
    let server = start(|limits| limits.body_timeout = Duration::from_millis(100)).await;
    for body in ["content-length: 10\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf"] {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(format!("POST /raw HTTP/1.1\r\nhost: x\r\n{body}").as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("urn:mainstay:problem:request-timeout"), "{answer}");
    }
    ended(&server, "body", 2).await;
    let counted = r#"http_requests_total{method="POST",route="/raw",status="408"}"#;
    assert_eq!(server.count(counted), 2);
}

#[tokio::test]
async fn a_body_that_dribbles_is_cut_by_its_rate_and_one_in_time_is_not() {
    let server = start(|limits| {
        limits.body_timeout = Duration::from_millis(300);
        limits.min_rate = 1_000;
    })
    .await;
    let mut dribble = TcpStream::connect(server.addr()).await.unwrap();
    dribble.write_all(b"POST /raw HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
    let (mut read, mut write) = dribble.split();
    let mut answer = Vec::new();
    let dribbling = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if write.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            _ = read.read_to_end(&mut answer) => {}
            () = dribbling => {}
        }
    })
    .await
    .expect("it is cut");
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    let whole = Request::post(server.addr(), "/raw").body("x".repeat(100_000)).send().await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "100000"));
}

#[tokio::test]
async fn an_answer_that_is_taken_steadily_is_not_cut_however_much_of_it_the_kernel_has() {
    const LENGTH: usize = 8 << 20;
    static LONG: [u8; LENGTH] = [b'x'; LENGTH];
    let long = Router::new().route("/long", get(async || Body::from(bytes::Bytes::from_static(&LONG))));
    let limits = limits(|limits| limits.request_timeout = Duration::from_millis(600));
    let server = TestHost::with_limits(long, limits).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut stream = socket.connect(server.addr()).await.unwrap();
    stream.write_all(b"GET /long HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 25 * (64 << 10)];
    for part in answer.chunks_mut(64 << 10) {
        // Hundreds of times the least rate.
        stream.read_exact(part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(80)).await;
    }
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > LENGTH, "{}", answer.len());
    assert_eq!(server.count(r#"http_connections_ended_total{reason="write"}"#), 0);
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_not_waited_for() {
    let server = start(|limits| limits.body_timeout = Duration::from_millis(1)).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(b"POST /ignore HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("not read"), "{answer}");
    ended(&server, "body", 0).await;
}

/// A connection from one of the addresses of this machine.
pub(crate) async fn from(address: [u8; 4], server: &TestHost) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    socket.connect(server.addr()).await.unwrap()
}

pub(crate) async fn answered(stream: &mut TcpStream) -> bool {
    stream.write_all(GET).await.unwrap();
    let mut answer = [0; 1024];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap_or(0);
    answer[..read].starts_with(b"HTTP/1.1 200 ")
}

#[tokio::test]
async fn one_client_cannot_take_the_places_of_the_others() {
    let server = start(|limits| {
        limits.max_connections_per_client = 2;
        limits.trusted_proxies = TrustedProxies::parse(["127.0.0.3"]).unwrap();
    })
    .await;
    let mut greedy = [from([127, 0, 0, 1], &server).await, from([127, 0, 0, 1], &server).await];
    for stream in &mut greedy {
        assert!(answered(stream).await);
    }
    let mut refused = from([127, 0, 0, 1], &server).await;
    assert!(read_to_end(&mut refused).await.starts_with("HTTP/1.1 503 "));
    assert_eq!(server.count(r#"http_connections_refused_total{limit="client"}"#), 1);
    assert!(answered(&mut from([127, 0, 0, 2], &server).await).await, "another client");
    let mut proxy = Vec::new();
    for _ in 0..5 {
        proxy.push(from([127, 0, 0, 3], &server).await);
        assert!(answered(proxy.last_mut().unwrap()).await, "a proxy has many clients");
    }
    drop(greedy);
    eventually_async("a place is free again", PATIENCE, async || {
        answered(&mut from([127, 0, 0, 1], &server).await).await
    })
    .await;
}

#[tokio::test]
async fn who_fills_one_listener_does_not_shut_out_those_of_another() {
    let server = start(|limits| limits.max_connections = 2).await;
    let any = ([127, 0, 0, 1], 0).into();
    let second = server.host.listen(any, server.host.wrap(routes())).await.unwrap();
    let _full = SlowClients::open(server.addr(), 2, b"G").await;
    let mut refused = from([127, 0, 0, 1], &server).await;
    assert!(read_to_end(&mut refused).await.starts_with("HTTP/1.1 503 "));
    assert_eq!(Request::get(second.addr(), "/hello").send().await.status, 200);
}

#[tokio::test]
async fn who_leaves_or_gets_half_an_answer_has_done_nothing_wrong() {
    let broken = || async {
        let parts = futures_util::stream::iter([Ok("half"), Err(std::io::Error::other("ours"))]);
        Body::from_stream(parts)
    };
    let server = TestHost::with_limits(routes().route("/broken", get(broken)), limits(|_| {})).await;
    for _ in 0..5 {
        let mut leaver = from([127, 0, 0, 2], &server).await;
        leaver.write_all(b"GET /hello HTTP/1.1\r\nhos").await.unwrap();
        drop(leaver);
        let mut asks = from([127, 0, 0, 2], &server).await;
        asks.write_all(b"GET /broken HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        read_to_end(&mut asks).await;
    }
    eventually_async("all are gone", PATIENCE, async || server.count("http_connections") == 0).await;
    assert_eq!(server.count(r#"http_requests_total{method="GET",route="/broken",status="200"}"#), 5);
    assert_eq!(server.count(r#"http_connections_ended_total{reason="protocol"}"#), 0);
}
