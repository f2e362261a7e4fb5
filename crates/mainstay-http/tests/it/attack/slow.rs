//! Slow clients, by the hundred and of every kind at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use mainstay_testkit::eventually_async;
use mainstay_testkit::http::{Request, SlowClients};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{PROMISE, attackers, connections, ended, limits};
use crate::TestHost;

/// What a client does after its first bytes, ten times a second. None lets go of its connection.
#[derive(Debug, Clone, Copy)]
enum Habit {
    Nothing,
    /// Closes its own half.
    Close,
    /// Sends these.
    Send(&'static [u8]),
    /// Reads one byte.
    Read,
}

/// First bytes, then a habit.
const KINDS: [(&[u8], Habit); 11] = [
    (b"", Habit::Nothing),
    (b"G", Habit::Nothing),
    (b"GET /hello HTTP/1.1\r\n", Habit::Close),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Habit::Nothing),
    (b"GET /hello HTTP/1.1\r\n", Habit::Send(b"x-more: y\r\n")),
    (b"POST /raw HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n", Habit::Send(b"x")),
    (b"POST /raw HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n", Habit::Close),
    (b"POST /raw HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", Habit::Send(b"1\r\nx\r\n")),
    (b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n", Habit::Nothing),
    (b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n", Habit::Read),
    (b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n", Habit::Nothing),
];

async fn attack(addr: SocketAddr, (first, habit): (&[u8], Habit), begun: Arc<AtomicUsize>) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let _ = stream.write_all(first).await;
    begun.fetch_add(1, Relaxed);
    let mut ticks = interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Whatever comes of it: it goes on.
        match habit {
            Habit::Nothing => {}
            Habit::Close => drop(stream.shutdown().await),
            Habit::Send(bytes) => drop(stream.write_all(bytes).await),
            Habit::Read => drop(stream.read(&mut [0]).await),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_clients_are_answered_while_slow_ones_of_every_kind_are_ended() {
    static LONG: [u8; 8 << 20] = [b'x'; 8 << 20];
    let routes = Router::new()
        .route("/hello", get(async || "hello"))
        .route("/raw", post(async |_: Bytes| "read"))
        .route("/long", get(async || Body::from(Bytes::from_static(&LONG))));
    let server = TestHost::with_limits(routes, limits()).await;
    // For its raising of the limit of open files.
    drop(SlowClients::open(server.addr(), 1, b"").await);

    let (count, opened) = (attackers(), Arc::new(AtomicUsize::new(0)));
    let (mut attacks, begun) = (JoinSet::new(), Instant::now());
    for at in 0..count {
        attacks.spawn(attack(server.addr(), KINDS[at % KINDS.len()], Arc::clone(&opened)));
    }
    let mut answers = 0;
    while opened.load(Relaxed) < count || connections(&server) > 0 {
        assert!(begun.elapsed() < PROMISE, "{} are still there", connections(&server));
        let answer = Request::get(server.addr(), "/hello").send().await;
        assert_eq!(answer.status, 200);
        answers += 1;
    }
    assert!(answers > 0);
    assert_eq!(server.count("http_requests_in_flight"), 0);
    // All but those that close half of themselves, which are ended for that.
    let reasons = ["first_byte", "header", "body", "write", "idle"].map(|reason| ended(&server, reason));
    assert!(reasons.iter().all(|ended| *ended >= count as u64 / 12), "{reasons:?}");
    assert!(reasons.iter().sum::<u64>() >= count as u64 * 9 / 11, "{reasons:?}");
}

#[tokio::test]
async fn no_more_is_made_of_an_answer_than_its_client_takes() {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let endless = get(async move || {
        let parts = futures_util::stream::repeat_with(move || {
            counted.fetch_add(16 * 1024, Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 16 * 1024]))
        });
        Body::from_stream(parts)
    });
    let server = TestHost::with_limits(Router::new().route("/", endless), limits()).await;
    let mut deaf = TcpStream::connect(server.addr()).await.unwrap();
    deaf.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    eventually_async("it is ended", PROMISE, async || ended(&server, "write") == 1).await;
    // What the kernel buffers for the two ends, and next to nothing of ours.
    let made = made.load(Relaxed);
    assert!(made <= 16 << 20, "{made} bytes");
}
