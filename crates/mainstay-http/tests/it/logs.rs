//! What a client can write into the log, and what it can read of it: nothing but its own words, in its own line.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Path;
use axum::routing::any;
use http::HeaderMap;
use mainstay_core::telemetry::{self, Format, Options};
use mainstay_http::{Limits, Problem, RequestContext};
use mainstay_testkit::http::{SlowClients, raw};
use serde_json::Value;

use crate::TestHost;

#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What could begin a line, end one, move a cursor, or make text read in another order.
const HOSTILE: [&str; 16] = [
    "\n",
    "\r",
    "\r\n",
    "\u{b}",
    "\u{c}",
    "\0",
    "\u{1b}[2J\u{1b}[31m",
    "\u{1e}",
    "\u{7f}",
    "\u{85}",
    "\u{9b}31m",
    "\u{2028}",
    "\u{2029}",
    "\u{202e}",
    "\u{2066}",
    "\u{200f}",
];

const FORGED: &str =
    "{\"level\":\"ERROR\",\"message\":\"forged\"} 2026-01-01T00:00:00Z ERROR forged: path=/x";

/// Requests with `text` everywhere a client can put it: as it is, and as escapes that a handler undoes.
fn requests(text: &str) -> Vec<Vec<u8>> {
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let request = |head: String| format!("{head}\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes();
    let mut requests = vec![
        request(format!("GET /say/{text} HTTP/1.1")),
        request(format!("GET /say/{encoded} HTTP/1.1")),
        request(format!("GET /nowhere/{encoded}?{encoded} HTTP/1.1")),
        request(format!("GET /nowhere/{text}?{text} HTTP/1.1")),
        request(format!("GE{text}T /say/x HTTP/1.1")),
        request(format!("PANIC /say/{encoded} HTTP/1.1")),
        request(format!("FAIL /say/{encoded} HTTP/1.1")),
    ];
    let names =
        ["x-request-id", "user-agent", "traceparent", "tracestate", "x-forwarded-for", "origin", "accept"];
    requests.extend(names.map(|name| request(format!("GET /say/x HTTP/1.1\r\n{name}: a{text}b"))));
    requests.push(request(format!("GET /say/x HTTP/1.1\r\nx-{text}: a")));
    requests
}

/// A handler that logs all it can get, and one line of it.
fn talkative(said: Arc<AtomicUsize>) -> Router {
    let handler = async move |method: http::Method,
                              Path(name): Path<String>,
                              context: RequestContext,
                              headers: HeaderMap| {
        said.fetch_add(1, Relaxed);
        let agent = headers.values().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let agent: String = agent.collect();
        match method.as_str() {
            "PANIC" => panic!("no user {name}"),
            "FAIL" => return Err(Problem::internal(&io::Error::other(format!("SELECT '{name}'")))),
            _ => tracing::warn!(name, agent = %agent, id = %context.request_id, ?headers, "saying {name}"),
        }
        Ok("said")
    };
    Router::new().route("/say/{name}", any(handler))
}

#[tokio::test]
async fn one_request_is_one_line_of_access_whatever_it_says() {
    for format in [Format::Json, Format::Pretty] {
        let log = Captured::default();
        let mut options = Options::default().writer(log.clone());
        options.format = format;
        let (subscriber, _telemetry) = telemetry::subscriber(options).unwrap();
        let _default = tracing::subscriber::set_default(subscriber);
        let said = Arc::new(AtomicUsize::new(0));
        let server = TestHost::start(talkative(Arc::clone(&said))).await;
        log.take();
        let mut handled = 0;
        for hostile in HOSTILE {
            for request in requests(&format!("{hostile}{FORGED}")).into_iter().chain(requests(hostile)) {
                let before = said.load(Relaxed);
                let answer = raw(server.addr(), &request).await;
                let (answer, log) = (String::from_utf8_lossy(&answer), log.take());
                let lines: Vec<_> = log.split_terminator('\n').collect();
                let shown = String::from_utf8_lossy(&request);
                assert!(!lines.iter().any(|line| line.contains(breaks)), "{shown:?} wrote {log:?}");
                // Of the server itself; and of the handler, if the request got there.
                let ours = said.load(Relaxed) - before;
                handled += ours;
                let answered = lines.iter().filter(|line| is_access(line, format)).count();
                assert!(answered <= 1 && ours <= answered, "{shown:?} wrote {log:?}");
                assert_eq!(lines.len(), ours + answered, "{shown:?} wrote {log:?}");
                assert!(!answer.contains("SELECT") && !answer.contains("no user"), "{answer}");
            }
        }
        assert!(handled > 150, "{handled}");
    }
}

#[tokio::test]
async fn a_refusal_names_the_cap_that_was_reached_and_what_helps_with_it() {
    for per_client in [false, true] {
        let log = Captured::default();
        let mut options = Options::default().writer(log.clone());
        options.format = Format::Json;
        let (subscriber, _telemetry) = telemetry::subscriber(options).unwrap();
        let _default = tracing::subscriber::set_default(subscriber);
        let mut limits = Limits::default();
        *(if per_client { &mut limits.max_connections_per_client } else { &mut limits.max_connections }) = 1;
        let server = TestHost::with_limits(talkative(Arc::default()), limits).await;
        let _only = SlowClients::open(server.addr(), 1, b"G").await;
        raw(server.addr(), b"").await;
        let log = log.take();
        let cap = if per_client { "MAX_CONNECTIONS_PER_CLIENT are open" } else { "MAX_CONNECTIONS are open" };
        assert!(log.contains(cap), "{log}");
        assert_eq!(log.contains("TRUSTED_PROXIES"), per_client, "{log}");
    }
}

fn breaks(c: char) -> bool {
    c.is_control() || HOSTILE.iter().any(|hostile| hostile.starts_with(c))
}

/// A line that only the server writes; a JSON line must be one, with each key once.
fn is_access(line: &str, format: Format) -> bool {
    match format {
        Format::Json => {
            let fields: Value = serde_json::from_str(line).unwrap();
            for key in ["timestamp", "level", "message", "request_id", "path", "status"] {
                assert!(line.matches(&format!("\"{key}\":")).count() <= 1, "{line}");
            }
            fields["target"] == "mainstay_http::access"
        }
        Format::Pretty => line.split_whitespace().nth(2) == Some("mainstay_http::access:"),
    }
}
