//! Black-box tests of `mainstay-http`, over real sockets. One module per subject: `server` (sockets,
//! limits, drain), `slow_clients` (what they may do and for how long), `tls`,
//! `layers` (what stands around a route), `extractors`, `endpoints`, `rate_limit`,
//! `concurrency`, `auth` (rules of routes), `logs` (what clients can write into them), `response_cache`, `sse` (streams of events). A new test goes into the module of the
//! promise it proves; helpers stand here.
#![allow(missing_docs, clippy::unwrap_used)]

mod attack;
mod auth;
mod concurrency;
mod endpoints;
mod extractors;
mod layers;
mod logs;
mod rate_limit;
mod response_cache;
mod server;
mod slow_clients;
mod sse;
mod tls;
mod travel;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use mainstay_core::metrics::Metrics;
use mainstay_http::{Host, Limits, Listening};

/// A listener on a free port with the standard layers around `routes`.
struct TestHost {
    host: Arc<Host>,
    metrics: Metrics,
    listening: Listening,
}

impl TestHost {
    async fn start(routes: Router) -> Self {
        Self::with_limits(routes, Limits::default()).await
    }

    async fn with_limits(routes: Router, limits: Limits) -> Self {
        let metrics = Metrics::new();
        let host = Host::new(&metrics, limits);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listening = host.listen(any, host.wrap(routes)).await.unwrap();
        Self { host, metrics, listening }
    }

    /// The value of a series, by its name and labels as they are printed; 0 if there is none.
    fn count(&self, series: &str) -> u64 {
        let text = self.metrics.render(Default::default());
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    fn addr(&self) -> SocketAddr {
        self.listening.addr()
    }
}
