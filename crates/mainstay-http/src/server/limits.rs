use std::time::Duration;

use mainstay_core::telemetry::trace_context::Sampling;

use crate::TrustedProxies;

/// Limits of the server. Every one can be changed while it runs ([`Host::update`](super::Host::update)): a request or
/// a connection keeps those that it began with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// From the start of a request to the head of its response; then `503`. Also how long a client may
    /// take nothing of a response that is sent to it; then the connection is closed. On HTTP/2 a client is held to
    /// that while nothing else of it is at work or begins. Default 30 s.
    pub request_timeout: Duration,
    /// For a client to send a whole request head: the first one from when its connection is accepted, a later one
    /// from its first byte. Default 10 s.
    pub header_timeout: Duration,
    /// How long a connection without a request is kept. Default 60 s.
    pub idle_timeout: Duration,
    /// How long a client may send nothing of a body that is waited for; then `408`. Default 10 s.
    pub body_timeout: Duration,
    /// Bytes per second that a client has to send of a body, or to take of an answer, on average and beyond the two
    /// limits above. Only time in which the server waits for the client counts, and bytes that went faster before earn
    /// none. Zero asks for none. Default 1,024.
    pub min_rate: u32,
    /// Bytes of a request body; then `413`. Default 1 MiB.
    pub body_limit: usize,
    /// Open connections of one listener; a further one is answered `503` and closed. Default 10,000.
    pub max_connections: usize,
    /// Of these from one client: an IPv4 address, or the /64 of an IPv6 address. Default 1,000. A client is refused, too,
    /// while fifty of its connections were cut off within 10 s for HTTP/2 resets.
    pub max_connections_per_client: usize,
    /// Whose connections are not counted as those of one client.
    pub trusted_proxies: TrustedProxies,
    /// Requests at once on one HTTP/2 connection. Default 128.
    pub max_streams: u32,
    /// For a TLS handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// How long browsers are told to come by TLS only, on connections that do; zero tells them nothing. Default zero.
    pub hsts_max_age: Duration,
    /// Origins that browsers may call from (`https://app.example`), or `*`. Default none.
    pub cors_origins: Vec<String>,
    /// How long work may wait for a thread, all the time, before requests are refused with `503`; zero refuses none.
    /// Operations never are, requests with a `priority` of `u=4` to `u=7` first. Default 20 ms.
    pub shed_target: Duration,
    /// Which of the traces that begin here are marked as recorded; those of probes never are.
    /// Default none.
    pub sampling: Sampling,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(10),
            min_rate: 1024,
            body_limit: 1 << 20,
            max_connections: 10_000,
            max_connections_per_client: 1_000,
            trusted_proxies: TrustedProxies::default(),
            max_streams: 128,
            handshake_timeout: Duration::from_secs(5),
            hsts_max_age: Duration::ZERO,
            cors_origins: Vec::new(),
            shed_target: Duration::from_millis(20),
            sampling: Sampling::NONE,
        }
    }
}

impl Limits {
    /// No wait for a client ends sooner than this.
    pub(super) fn shortest(&self) -> Duration {
        self.header_timeout.min(self.idle_timeout).min(self.request_timeout).max(Duration::from_millis(1))
    }
}
