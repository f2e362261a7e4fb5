//! HTTP/2: what one connection can make a server do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mainstay_testkit::eventually_async;
use mainstay_testkit::http::Request;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::frames::{self, Raw, frame};
use super::{PROMISE, connections, ended, limits};
use crate::TestHost;
use crate::slow_clients::{answered, from};

/// Handlers at work.
#[derive(Clone, Default)]
struct Work {
    begun: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    arrivals: Arc<Notify>,
}

struct Running(Work);

impl Work {
    fn begin(&self) -> Running {
        self.begun.fetch_add(1, Relaxed);
        let running = self.running.fetch_add(1, Relaxed) + 1;
        self.most.fetch_max(running, Relaxed);
        self.arrivals.notify_one();
        Running(self.clone())
    }
}

impl Work {
    /// So many have begun.
    async fn reaches(&self, count: usize) {
        while self.begun.load(Relaxed) < count {
            tokio::time::timeout(PROMISE, self.arrivals.notified()).await.expect("a request arrives");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

/// A route that never answers, beside one that does.
async fn hanging() -> (TestHost, Work) {
    let work = Work::default();
    let counted = work.clone();
    let hang = any(async move |_unread: Body| {
        let _running = counted.begin();
        std::future::pending::<()>().await;
    });
    let routes = Router::new().route("/", hang).route("/hello", any(async || "hello"));
    let mut limits = limits();
    limits.request_timeout = PROMISE;
    (TestHost::with_limits(routes, limits).await, work)
}

async fn assert_good_clients_are_served(server: &TestHost) {
    assert_eq!(Request::get(server.addr(), "/hello").send().await.status, 200);
}

/// Sends up to 20,000 requests, each taken back at once, until the server has enough.
async fn flood(mut raw: Raw) {
    for chunk in frames::streams().take(20_000).collect::<Vec<_>>().chunks(1_000) {
        let flood: Vec<u8> =
            chunk.iter().flat_map(|id| [frames::request(*id), frames::reset(*id)].concat()).collect();
        if !raw.send(&flood).await {
            break;
        }
    }
    raw.closed().await;
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_end_the_connection_before_they_cost_anything() {
    let (server, work) = hanging().await;
    flood(Raw::open(server.addr()).await).await;
    let begun = work.begun.load(Relaxed);
    assert!(begun < 1_000, "{begun} of 20,000 were begun");
    assert_good_clients_are_served(&server).await;
}

#[tokio::test]
async fn an_attacker_that_comes_again_and_again_is_refused_and_others_are_not() {
    let (server, _) = hanging().await;
    for attack in 1..=50 {
        flood(Raw::open(server.addr()).await).await;
        eventually_async("it is ended", PROMISE, async || ended(&server, "resets") == attack).await;
    }
    eventually_async("it is refused", PROMISE, async || {
        !answered(&mut from([127, 0, 0, 1], &server).await).await
    })
    .await;
    assert!(server.count(r#"http_connections_refused_total{limit="attacker"}"#) >= 1);
    assert!(answered(&mut from([127, 0, 0, 2], &server).await).await, "another client");
}

#[tokio::test]
async fn a_client_that_takes_back_one_request_after_the_other_is_ended() {
    let (server, work) = hanging().await;
    let mut raw = Raw::open(server.addr()).await;
    for id in frames::streams() {
        if !raw.send(&frames::request(id)).await {
            break;
        }
        // Each is begun before it is taken back: the protocol's own limit does not see it.
        tokio::select! {
            () = work.reaches(id.div_ceil(2) as usize) => {}
            () = raw.closed() => break,
        }
        raw.send(&frames::reset(id)).await;
    }
    raw.closed().await;
    let begun = work.begun.load(Relaxed);
    assert!((90..=200).contains(&begun), "{begun} were begun");
    assert_eq!(ended(&server, "resets"), 1);
    eventually_async("nothing goes on", PROMISE, async || work.running.load(Relaxed) == 0).await;
    assert_good_clients_are_served(&server).await;
}

#[tokio::test]
async fn a_client_that_takes_back_as_many_requests_as_it_lets_finish_is_none_of_these() {
    let (server, work) = hanging().await;
    let stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut client, connection) =
        http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for round in 1..=300 {
        let get = |path: &str| http::Request::get(format!("http://x{path}")).body(Body::empty()).unwrap();
        let hanging = tokio::spawn(client.send_request(get("/")));
        work.reaches(round).await;
        hanging.abort();
        assert_eq!(client.send_request(get("/hello")).await.unwrap().status(), 200);
    }
    assert!(!connection.is_finished());
    assert_eq!(ended(&server, "resets"), 0);
}

#[tokio::test]
async fn a_client_that_makes_the_server_reset_its_requests_is_ended() {
    let (server, work) = hanging().await;
    let mut raw = Raw::open(server.addr()).await;
    for chunk in frames::streams().take(20_000).collect::<Vec<_>>().chunks(100) {
        // A window that grows by nothing is an error of the stream.
        let spoilt =
            |id: &u32| [frames::request(*id), frame(frames::WINDOW_UPDATE, 0, *id, &[0; 4])].concat();
        if !raw.send(&chunk.iter().flat_map(spoilt).collect::<Vec<_>>()).await {
            break;
        }
    }
    raw.closed().await;
    let begun = work.begun.load(Relaxed);
    assert!(begun < 1_000, "{begun} of 20,000 were begun");
    assert_good_clients_are_served(&server).await;
}

#[tokio::test]
async fn a_thousand_requests_at_once_are_128_and_the_rest_is_refused() {
    let (server, work) = hanging().await;
    let mut raw = Raw::open(server.addr()).await;
    for id in frames::streams().take(1_000) {
        if !raw.send(&frames::request(id)).await {
            break;
        }
    }
    work.reaches(100).await;
    assert_good_clients_are_served(&server).await;
    drop(raw);
    eventually_async("nothing goes on", PROMISE, async || work.running.load(Relaxed) == 0).await;
    let most = work.most.load(Relaxed);
    assert!(most <= 128, "{most} at once");
}

#[tokio::test]
async fn a_head_that_goes_on_for_ever_ends_the_connection() {
    let (server, work) = hanging().await;
    // Names in literal form without an index, so that the server need not keep any.
    let field = [b"\x00\x05x-abc\x7f\x81\x07".as_slice(), &[b'y'; 262]].concat();
    for endless in [vec![], field] {
        let mut raw = Raw::open(server.addr()).await;
        assert!(raw.send(&frame(frames::HEADERS, frames::END_STREAM, 1, frames::GET)).await);
        let part = frame(frames::CONTINUATION, 0, 1, &endless);
        for _ in 0..100_000 {
            if !raw.send(&part).await {
                break;
            }
        }
        raw.closed().await;
    }
    assert_eq!(work.begun.load(Relaxed), 0);
    assert_good_clients_are_served(&server).await;
}

#[tokio::test]
async fn a_client_that_floods_and_does_not_read_is_ended() {
    let mut limits = limits();
    limits.min_rate = 0;
    let server = TestHost::with_limits(Router::new().route("/hello", any(async || "hello")), limits).await;
    for flood in [frame(frames::PING, 0, 0, &[0; 8]), frame(frames::SETTINGS, 0, 0, &[])] {
        let mut raw = Raw::deaf(server.addr()).await;
        let flood = flood.repeat(1_000);
        let sending = async { while raw.send(&flood).await {} };
        tokio::time::timeout(PROMISE, sending).await.expect("the server should end the connection");
    }
    eventually_async("both are gone", PROMISE, async || connections(&server) == 0).await;
    assert_good_clients_are_served(&server).await;
}

#[tokio::test]
async fn an_idle_client_that_does_not_listen_holds_up_no_drain() {
    let mut limits = limits();
    limits.idle_timeout = 2 * PROMISE;
    let server = TestHost::with_limits(Router::new().route("/", any(async || "hello")), limits).await;
    let mut raw = Raw::deaf(server.addr()).await;
    assert!(raw.send(&frames::request(1)).await);
    let answered = r#"http_requests_total{method="GET",route="/",status="200"}"#;
    eventually_async("it is answered", PROMISE, async || server.count(answered) == 1).await;
    assert_eq!(server.listening.drain(PROMISE).await, Ok(()));
}

#[tokio::test]
async fn bodies_that_nobody_reads_may_be_as_long_as_their_window_and_no_longer() {
    let (server, work) = hanging().await;
    let mut raw = Raw::open(server.addr()).await;
    let mut sent = 0;
    let part = vec![b'x'; 16 * 1024];
    'flood: for (at, id) in frames::streams().take(100).enumerate() {
        if !raw.send(&frame(frames::HEADERS, frames::END_HEADERS, id, frames::POST)).await {
            break;
        }
        tokio::select! {
            () = work.reaches(at + 1) => {}
            () = raw.closed() => break,
        }
        // Within the window that each stream begins with.
        for _ in 0..3 {
            if !raw.send(&frame(frames::DATA, 0, id, &part)).await {
                break 'flood;
            }
            sent += part.len();
        }
    }
    raw.closed().await;
    assert!(sent >= 200 * 1024, "{sent}: an honest client may send ahead");
    // And what the kernel had already when the server closed.
    assert!(sent <= 1 << 20, "{sent}");
    assert_good_clients_are_served(&server).await;
}

#[tokio::test]
async fn an_answer_for_which_no_window_is_opened_ends_the_connection() {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let endless = any(async move || {
        let parts = futures_util::stream::repeat_with(move || {
            counted.fetch_add(1024, Relaxed);
            Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b'x'; 1024]))
        });
        Body::from_stream(parts)
    });
    let server = TestHost::with_limits(Router::new().route("/", endless), limits()).await;
    let mut raw = Raw::open(server.addr()).await;
    for id in frames::streams().take(100) {
        raw.send(&frames::request(id)).await;
    }
    raw.closed().await;
    assert_eq!(ended(&server, "write"), 1);
    // The first window of the connection, and what each answer has ready.
    let made = made.load(Relaxed);
    assert!(made <= 64 * 1024 + 100 * 128 * 1024, "{made} bytes");
}
