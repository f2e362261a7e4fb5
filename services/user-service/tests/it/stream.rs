//! `/api/users/events`: server-sent events of the real service.

use std::time::Duration;

use mainstay_testkit::redis::RedisServer;
use mainstay_testkit::{Service, Signal};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{PATIENCE, created, patch, path_of, service};

/// An `EventSource`.
struct Client {
    stream: TcpStream,
    text: String,
}

impl Client {
    async fn open(service: &Service, last: Option<&str>) -> Self {
        Self::open_with(service, last, &crate::admin()).await
    }

    async fn open_with(service: &Service, last: Option<&str>, token: &str) -> Self {
        let mut stream = TcpStream::connect(service.addr()).await.unwrap();
        let last = last.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        let request = format!(
            "GET /api/users/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             accept: text/event-stream\r\n{last}\r\n",
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut client = Self { stream, text: String::new() };
        client.until("retry:").await;
        assert!(client.text.starts_with("HTTP/1.1 200 ") && client.text.contains("text/event-stream"));
        client
    }

    async fn until(&mut self, what: &str) {
        while !self.text.contains(what) {
            let mut bytes = [0; 4096];
            let read = timeout(PATIENCE, self.stream.read(&mut bytes)).await;
            let count = read.unwrap_or_else(|_| panic!("no {what:?} in {}", self.text)).unwrap();
            assert!(count > 0, "it ended without {what:?}: {}", self.text);
            self.text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    }

    /// The ids it was sent.
    fn ids(&self) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("id: ")).collect()
    }
}

fn version(number: u32) -> String {
    format!("\"version\":{number}")
}

async fn goes_on_at_the_next_instance(start: impl AsyncFn() -> Service) {
    let mut first = start().await;
    let mut client = Client::open(&first, None).await;
    let user = created(&first, "ada@example.org", "Ada").await;
    client.until(&version(1)).await;
    assert!(client.text.contains("event: user.created\n"), "{}", client.text);
    assert!(!client.text.contains("ada@"), "no personal data");
    let last = client.ids().last().unwrap().to_string();
    patch(&first, &path_of(&user), json!({"name": "Lovelace"})).await;
    first.signal(Signal::Kill);
    first.wait_exit(PATIENCE).await;

    let second = start().await;
    patch(&second, &path_of(&user), json!({"name": "King"})).await;
    let mut client = Client::open(&second, Some(&last)).await;
    client.until(&version(3)).await;
    assert!(client.text.contains(&version(2)), "{}", client.text);
    assert!(!client.text.contains(&version(1)) && !client.text.contains("reset"), "{}", client.text);
    let mut stranger = Client::open(&second, Some("0190163d-8694-739b-aea5-966c26f8ad91")).await;
    stranger.until("event: reset").await;
}

#[tokio::test]
async fn a_browser_goes_on_at_the_next_instance_where_it_was() {
    let dir = TempDir::new().unwrap();
    goes_on_at_the_next_instance(async || service().env("APP_ENV", "test").dir(dir.path()).start().await)
        .await;
}

#[tokio::test]
async fn a_browser_goes_on_with_events_that_are_on_redis() {
    let (dir, redis) = (TempDir::new().unwrap(), RedisServer::start().await);
    let url = redis.url();
    let start =
        async || service().env("APP_ENV", "test").env("REDIS_URL", &url).dir(dir.path()).start().await;
    goes_on_at_the_next_instance(start).await;
}

#[tokio::test]
async fn a_stream_ends_when_the_token_it_was_asked_with_expires() {
    let service = service().env("APP_ENV", "test").start().await;
    let brief = crate::token_for("administrator", &["admin"], Duration::from_secs(2));
    let mut client = Client::open_with(&service, None, &brief).await;
    // The chunk that ends a body.
    client.until("\r\n0\r\n\r\n").await;
}
