//! Streams of events, as a browser reads them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use jiff::Timestamp;
use mainstay_core::cache::{self, Cache, Ttl};
use mainstay_core::event::{EventId, Events, Memory, Options};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_http::{
    EventStreamOptions, EventStreams, LastEventId, Limits, Problem, ResponseCacheLayer, ResponseCacheRule,
};
use mainstay_testkit::faulty::event::FaultyStore;
use mainstay_testkit::faulty::{Fault, Faults};
use mainstay_testkit::{eventually_async, http::Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::TestHost;

const PATIENCE: Duration = Duration::from_secs(20);

struct Streaming {
    server: TestHost,
    events: Events,
    streams: EventStreams,
    faults: Faults,
}

/// What a test changes of the plain case.
#[derive(Default)]
struct Setting {
    events: Options,
    streams: EventStreamOptions,
    limits: Limits,
}

async fn streaming(setting: Setting) -> Streaming {
    let (metrics, faults) = (Metrics::new(), Faults::none());
    let store = Memory::new(setting.events.memory, Clock::system());
    let store = Arc::new(FaultyStore::new(store, faults.clone()));
    let events = Events::new(store, setting.events, &metrics, Clock::system());
    let streams = EventStreams::new(setting.streams, &metrics);
    let cache = Cache::in_memory(cache::Options::default(), &metrics, Clock::system());
    let cached = ResponseCacheLayer::new(cache, ResponseCacheRule::new(Ttl::minutes(1)));
    let routes = Router::new()
        .route("/events", get(everything))
        .route("/cached", get(everything).route_layer(cached))
        .route("/none", get(nothing))
        .route("/brief", get(brief))
        .with_state((streams.clone(), events.clone()));
    let server = TestHost::with_limits(routes, setting.limits).await;
    Streaming { server, events, streams, faults }
}

type Part = State<(EventStreams, Events)>;

async fn everything(State((streams, events)): Part, last: LastEventId) -> Result<Response, Problem> {
    streams.feed(&events, "user.*", last, |event| String::from_utf8(event.data.to_vec()).ok()).await
}

async fn nothing(State((streams, events)): Part, last: LastEventId) -> Result<Response, Problem> {
    streams.feed(&events, "user.*", last, |_| None).await
}

async fn brief(State((streams, events)): Part, last: LastEventId) -> Result<Response, Problem> {
    let end = Timestamp::now() + Duration::from_millis(300);
    streams.until(Some(end)).feed(&events, "user.*", last, |_| None).await
}

impl Streaming {
    async fn publish(&self, data: &str) -> EventId {
        self.events.publish("user.renamed", data).await.unwrap()
    }

    async fn open(&self, path: &str, headers: &str) -> Client {
        Client::open(self.server.addr(), path, headers).await
    }
}

/// A connection whose answer is read as it comes.
struct Client {
    stream: TcpStream,
    text: String,
}

impl Client {
    /// Sends a request and waits for the beginning of the answer.
    async fn open(addr: SocketAddr, path: &str, headers: &str) -> Self {
        let mut client = Self::send(addr, path, headers).await;
        client.until("retry: ").await;
        client
    }

    async fn send(addr: SocketAddr, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { stream, text: String::new() }
    }

    /// `None`: the connection has ended.
    async fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 4096];
        let count =
            timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("there should be more").ok()?;
        self.text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        (count > 0).then_some(())
    }

    async fn until(&mut self, what: &str) -> &str {
        while !self.text.contains(what) {
            assert!(self.more().await.is_some(), "no {what:?} in {}", self.text);
        }
        &self.text
    }

    async fn read_to_the_end(mut self) -> String {
        while self.more().await.is_some() {}
        self.text
    }
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let streaming = streaming(Setting::default()).await;
    let before = streaming.publish("before").await;
    let mut client = streaming.open("/events", "").await;
    let one = streaming.publish("one").await;
    let seen = client.until("\"one\"\n\n").await.to_owned();
    assert!(seen.contains(&format!("id: {one}\nevent: user.renamed\ndata: \"one\"\n\n")), "{seen}");
    assert!(!seen.contains("reset"), "{seen}");
    assert!(!seen.contains("before"), "a first connection begins now: {seen}");
    drop(client);

    streaming.publish("two").await;
    let mut client = streaming.open("/events", &format!("last-event-id: {one}\r\n")).await;
    streaming.publish("three").await;
    let seen = client.until("\"three\"").await.to_owned();
    let places: Vec<_> =
        ["\"two\"", "\"three\""].iter().map(|data| seen.match_indices(data).count()).collect();
    assert_eq!(places, [1, 1], "{seen}");
    assert!(!seen.contains("\"one\"") && !seen.contains("reset"), "{seen}");

    let mut client = streaming.open("/events", &format!("last-event-id: {before}\r\n")).await;
    let seen = client.until("\"three\"").await;
    assert!(seen.contains("\"one\"") && seen.contains("\"two\""), "{seen}");
}

#[tokio::test]
async fn a_client_that_may_have_missed_something_is_told_to_begin_anew() {
    let mut setting = Setting::default();
    setting.events.memory.retained = 2;
    let streaming = streaming(setting).await;
    let old = streaming.publish("zero").await;
    for data in ["one", "two", "three"] {
        streaming.publish(data).await;
    }
    let mut client = streaming.open("/events", &format!("last-event-id: {old}\r\n")).await;
    let seen = client.until("\"three\"").await;
    assert!(seen.find("event: reset\ndata: {}\n\n").unwrap() < seen.find("\"two\"").unwrap(), "{seen}");

    for strange in ["7", "\u{e9}", "0190163d-8694-739b-aea5-966c26f8ad91"] {
        let mut client = streaming.open("/events", &format!("last-event-id: {strange}\r\n")).await;
        client.until("event: reset").await;
        streaming.publish(&format!("after {strange}")).await;
        client.until("after").await;
    }
    let mut client = streaming.open("/events", "last-event-id: \r\n").await;
    streaming.publish("four").await;
    assert!(!client.until("\"four\"").await.contains("reset"));
}

#[tokio::test]
async fn neither_silence_nor_the_time_limit_of_requests_ends_a_stream() {
    let mut setting = Setting::default();
    setting.streams.heartbeat = Duration::from_millis(100);
    setting.limits.request_timeout = Duration::from_millis(300);
    setting.limits.header_timeout = Duration::from_millis(300);
    let streaming = streaming(setting).await;
    let mut client = streaming.open("/events", "").await;
    while client.text.matches("\n:\n\n").count() < 10 {
        client.more().await.unwrap();
    }
    streaming.publish("one").await;
    client.until("\"one\"").await;
}

#[tokio::test]
async fn what_a_client_is_not_shown_moves_its_place_all_the_same() {
    let mut setting = Setting::default();
    setting.streams.heartbeat = Duration::from_millis(50);
    let streaming = streaming(setting).await;
    let mut client = streaming.open("/none", "").await;
    let id = streaming.publish("secret").await;
    let seen = client.until(&format!(":\nid: {id}\n\n")).await;
    assert!(!seen.contains("secret") && !seen.contains("event:"), "{seen}");
}

#[tokio::test]
async fn no_layer_holds_a_stream_back() {
    let mut setting = Setting::default();
    setting.limits.cors_origins = vec!["https://app.example".to_owned()];
    let streaming = streaming(setting).await;
    let browser = "accept-encoding: gzip, br\r\norigin: https://app.example\r\n";
    for path in ["/events", "/cached"] {
        let mut clients = [streaming.open(path, browser).await, streaming.open(path, browser).await];
        streaming.publish(path).await;
        for client in &mut clients {
            let seen = client.until(&format!("\"{path}\"")).await;
            assert!(seen.starts_with("HTTP/1.1 200 "), "{seen}");
            assert!(seen.contains("content-type: text/event-stream\r\n"), "{seen}");
            assert!(seen.contains("cache-control: no-store\r\n"), "{seen}");
            assert!(seen.contains("x-accel-buffering: no\r\n"), "{seen}");
            assert!(seen.contains("access-control-allow-origin: https://app.example\r\n"), "{seen}");
            assert!(!seen.contains("content-encoding"), "{seen}");
        }
        assert_eq!(clients[0].text.matches("event: user.renamed").count(), 1);
    }
}

async fn status(streaming: &Streaming, path: &str) -> String {
    let mut client = Client::send(streaming.server.addr(), path, "").await;
    client.until("\r\n").await[9..12].to_owned()
}

#[tokio::test]
async fn one_stream_too_many_is_503_until_a_client_leaves() {
    let mut setting = Setting::default();
    setting.streams.max = 2;
    let streaming = streaming(setting).await;
    let (one, _two) = (streaming.open("/events", "").await, streaming.open("/events", "").await);
    let refused = Request::get(streaming.server.addr(), "/events").send().await;
    assert_eq!(
        (refused.status, refused.json()["type"].as_str()),
        (503, Some("urn:mainstay:problem:unavailable"))
    );
    assert_eq!(refused.header("retry-after"), Some("5"));
    drop(one);
    // What has no more to say is found out when it says something.
    eventually_async("a place is free again", PATIENCE, async || {
        streaming.publish("anybody there?").await;
        status(&streaming, "/events").await == "200"
    })
    .await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off_and_its_place_is_free_again() {
    let mut setting = Setting::default();
    setting.streams.max = 1;
    setting.limits.request_timeout = Duration::from_millis(300);
    let streaming = streaming(setting).await;
    let _reads_nothing = streaming.open("/events", "").await;
    let much = "x".repeat(200_000);
    eventually_async("its place is free again", PATIENCE, async || {
        for _ in 0..10 {
            streaming.publish(&much).await;
        }
        status(&streaming, "/events").await == "200"
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_the_right_to_it_and_others_go_on() {
    let streaming = streaming(Setting::default()).await;
    let mut other = streaming.open("/events", "").await;
    streaming.open("/brief", "").await.until("\r\n0\r\n\r\n").await;
    streaming.publish("still here").await;
    other.until("still here").await;
}

#[tokio::test]
async fn closing_ends_streams_in_order_and_lets_nobody_in() {
    let streaming = streaming(Setting::default()).await;
    let mut client = streaming.open("/events", "connection: close\r\n").await;
    streaming.publish("one").await;
    client.until("\"one\"").await;
    streaming.server.listening.stop_accepting();
    streaming.streams.close();
    let all = client.read_to_the_end().await;
    assert!(all.ends_with("\n\n\r\n0\r\n\r\n"), "the last chunk tells that nothing was cut off: {all:?}");
    streaming.server.listening.drain(PATIENCE).await.unwrap();
    let last = LastEventId::default();
    let refused = streaming.streams.feed(&streaming.events, "user.*", last, |_| None).await;
    assert_eq!(refused.unwrap_err().status(), 503);
}

#[tokio::test]
async fn without_the_store_a_new_stream_is_503_and_an_open_one_goes_on_when_it_is_back() {
    let mut setting = Setting::default();
    setting.events.op_timeout = Duration::from_millis(100);
    let streaming = streaming(setting).await;
    let mut client = streaming.open("/events", "").await;
    streaming.publish("one").await;
    client.until("\"one\"").await;
    streaming.faults.always(Fault::Unavailable);
    let refused =
        streaming.streams.feed(&streaming.events, "order.*", LastEventId::default(), |_| None).await;
    assert_eq!(refused.unwrap_err().status(), 503);
    streaming.faults.mend();
    streaming.publish("two").await;
    client.until("\"two\"").await;
}
