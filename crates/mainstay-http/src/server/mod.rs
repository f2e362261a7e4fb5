//! The listeners: an accept loop of our own on hyper, because `axum::serve` installs no timer, caps
//! no connections and waits without end when it shuts down.

mod connection;
mod listener;
mod queue;
mod turns;
mod write_limit;

pub use connection::Connection;
pub use listener::{BindError, Listening, Unfinished};

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use mainstay_core::metrics::Metrics;
use mainstay_core::telemetry::trace_context::Sampling;
use mainstay_core::time::Clock;

use crate::layer::{self, HttpMetrics};
use queue::Queue;

/// Limits of the server. Every one can be changed while it runs ([`Host::update`]).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// From the start of a request to the head of its response; then `503`. Also how long a client may
    /// take nothing of a response that is sent to it, and about how long an HTTP/2 connection may be
    /// idle; then the connection is closed. Default 30 s.
    pub request_timeout: Duration,
    /// For a client to send a whole request head, counted from when the server waits for it. It is
    /// therefore also how long an idle connection is kept. Default 10 s.
    pub header_timeout: Duration,
    /// Bytes of a request body; then `413`. Default 1 MiB.
    pub body_limit: usize,
    /// Open connections; a further one is answered `503` and closed. Default 10,000.
    pub max_connections: usize,
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
            body_limit: 1 << 20,
            max_connections: 10_000,
            cors_origins: Vec::new(),
            shed_target: Duration::from_millis(20),
            sampling: Sampling::NONE,
        }
    }
}

/// What all listeners of one app share: limits, metrics, the draining flag.
#[derive(Debug)]
pub struct Host {
    pub(crate) limits: ArcSwap<Limits>,
    pub(crate) metrics: HttpMetrics,
    pub(crate) queue: Queue,
    pub(crate) connections: AtomicUsize,
    draining: AtomicBool,
    watched_at: OnceLock<Vec<String>>,
}

impl Host {
    /// A host that counts into `metrics`.
    #[must_use]
    pub fn new(metrics: &Metrics, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            queue: Queue::new(metrics, Clock::system(), limits.shed_target),
            limits: ArcSwap::from_pointee(limits),
            metrics: HttpMetrics::new(metrics),
            connections: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            watched_at: OnceLock::new(),
        })
    }

    /// Applies new limits: to the next request and the next connection.
    pub fn update(&self, limits: Limits) {
        self.queue.set_target(limits.shed_target);
        self.limits.store(Arc::new(limits));
    }

    /// Says once by which routes the service is watched, beside `/health`, `/metrics` and those below `/distributed/`:
    /// requests to them are never shed, begin no recorded trace, and are logged only if they fail.
    pub fn watched_at(&self, routes: impl IntoIterator<Item = String>) {
        self.watched_at.get_or_init(|| routes.into_iter().collect());
    }

    pub(crate) fn is_probe(&self, route: &str) -> bool {
        let own = || self.watched_at.get().is_some_and(|routes| routes.iter().any(|own| own == route));
        layer::is_probe(route) || own()
    }

    /// Watches how long work waits for a thread: nothing is shed unless somebody awaits this, which never ends.
    pub async fn watch_queue(&self) -> Infallible {
        self.queue.watch().await
    }

    /// Asks clients to leave: from now on every response carries `Connection: close`. Called when
    /// readiness turns off, so that load balancers move their connections before accepting ends.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Puts the standard layers around `routes`: request id, span, access log, metrics, panic and
    /// time limit, problem bodies, security headers, CORS, compression, body limit.
    ///
    /// Clients of a service read one format of errors: an error that leaves a handler bare or as plain text
    /// becomes a [`Problem`](crate::Problem) of the same status, and its text is not shown. Return a problem
    /// with a detail to say more.
    pub fn wrap(self: &Arc<Self>, routes: Router) -> Router {
        layer::wrap(self, routes)
    }

    /// Opens a listener and serves `routes` on it. Port 0 takes any free port.
    ///
    /// # Errors
    /// [`BindError`] says which address could not be opened and why.
    pub async fn listen(self: &Arc<Self>, addr: SocketAddr, routes: Router) -> Result<Listening, BindError> {
        Listening::open(Arc::clone(self), addr, routes).await
    }
}
