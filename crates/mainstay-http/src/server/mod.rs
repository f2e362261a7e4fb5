//! The listeners: an accept loop of our own on hyper, because `axum::serve` installs no timer, caps
//! no connections and waits without end when it shuts down.

mod activity;
mod connection;
mod limits;
mod listener;
mod pace;
mod queue;
mod reason;
mod slots;
mod stream;
mod tls;
mod upload;

pub use connection::Connection;
pub(crate) use connection::MAX_HEADERS;
pub use limits::Limits;
pub use listener::{BindError, Listening, Unfinished};
pub(crate) use reason::{Reason, Refused};
pub(crate) use tls::Encrypted;
pub use tls::{Tls, TlsError};
pub(crate) use upload::SlowBody;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use axum::Router;
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;

use crate::layer::{self, HttpMetrics};
use queue::Queue;

/// What all listeners of one app share: limits, metrics, the draining flag.
#[derive(Debug)]
pub struct Host {
    pub(crate) limits: ArcSwap<Limits>,
    pub(crate) metrics: HttpMetrics,
    pub(crate) queue: Queue,
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
        Listening::open(Arc::clone(self), addr, routes, None).await
    }

    /// As [`listen`](Self::listen), and every connection is encrypted.
    ///
    /// # Errors
    /// [`BindError`] as there. A client whose handshake fails is only counted.
    pub async fn listen_tls(
        self: &Arc<Self>,
        addr: SocketAddr,
        routes: Router,
        tls: Tls,
    ) -> Result<Listening, BindError> {
        Listening::open(Arc::clone(self), addr, routes, Some(tls)).await
    }
}
