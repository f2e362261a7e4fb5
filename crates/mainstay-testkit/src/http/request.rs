//! A request and its exchange.

use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::time::Duration;

use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{DEADLINE, Response, keep_writing};

/// A request on a connection of its own.
///
/// Adds `host`, `connection: close` and, for a body, `content-length`, unless [`Request::header`]
/// has set them. Method, target and headers are written as they are given, valid or not.
///
/// ```no_run
/// # async fn example() {
/// use mainstay_testkit::http::Request;
///
/// let created = Request::post(([127, 0, 0, 1], 3000).into(), "/api/users")
///     .header("idempotency-key", "k1")
///     .json(&serde_json::json!({ "email": "ada@example.com", "name": "Ada" }))
///     .send()
///     .await;
/// assert_eq!(created.status, 201, "{}", created.text());
/// assert!(created.header("etag").is_some());
/// assert_eq!(created.json()["name"], "Ada");
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Request {
    addr: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    deadline: Duration,
}

impl Request {
    /// A request to `addr` with any method.
    pub fn new(method: impl Into<String>, addr: SocketAddr, target: impl Into<String>) -> Self {
        let (method, target) = (method.into(), target.into());
        Self { addr, method, target, headers: Vec::new(), body: Vec::new(), deadline: DEADLINE }
    }

    /// A GET request.
    pub fn get(addr: SocketAddr, target: impl Into<String>) -> Self {
        Self::new("GET", addr, target)
    }

    /// A POST request.
    pub fn post(addr: SocketAddr, target: impl Into<String>) -> Self {
        Self::new("POST", addr, target)
    }

    /// A PUT request.
    pub fn put(addr: SocketAddr, target: impl Into<String>) -> Self {
        Self::new("PUT", addr, target)
    }

    /// A PATCH request.
    pub fn patch(addr: SocketAddr, target: impl Into<String>) -> Self {
        Self::new("PATCH", addr, target)
    }

    /// A DELETE request.
    pub fn delete(addr: SocketAddr, target: impl Into<String>) -> Self {
        Self::new("DELETE", addr, target)
    }

    /// Adds a header; a second one of the same name is sent as well.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Says who asks, with a token: `Authorization: Bearer …`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a JSON body and its `content-type`.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Sets how long the whole exchange may take; 30 s if not set.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sends it and reads the whole response.
    ///
    /// # Panics
    ///
    /// If there is no response: see [`Request::try_send`].
    #[track_caller]
    pub fn send(self) -> impl Future<Output = Response> {
        let caller = Location::caller();
        async move {
            let what = format!("{} {}", self.method, self.target);
            self.try_send().await.unwrap_or_else(|error| panic!("{caller}: {what}: {error}"))
        }
    }

    /// As [`Request::send`], for a server that may be gone.
    ///
    /// # Errors
    ///
    /// What the socket reports; `TimedOut` after the deadline; `UnexpectedEof` if the response is cut
    /// off; `InvalidData` if it is not HTTP/1.1.
    pub async fn try_send(self) -> io::Result<Response> {
        timeout(self.deadline, self.exchange()).await?
    }

    async fn exchange(&self) -> io::Result<Response> {
        let mut stream = TcpStream::connect(self.addr).await?;
        let (read, write) = stream.split();
        let bytes = self.bytes();
        tokio::select! {
            response = Response::read(BufReader::new(read), self.method == "HEAD") => response,
            never = keep_writing(write, &bytes) => match never {},
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let set = |name: &str| self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !set("host") {
            head += &format!("host: {}\r\n", self.addr);
        }
        if !set("connection") {
            head += "connection: close\r\n";
        }
        let may_be_empty = !matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        if !(set("content-length") || set("transfer-encoding") || (may_be_empty && self.body.is_empty())) {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        [head.as_bytes(), &self.body].concat()
    }
}
