use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use http::{Method, StatusCode};
use tokio::time::Instant;
use tracing::Span;

use super::metrics::UNMATCHED;
use super::span;
use crate::Host;

/// A request on its way. Counts and logs the end, also when the client leaves and hyper drops us.
pub(super) struct Flight {
    host: Arc<Host>,
    method: Method,
    path: String,
    route: Option<MatchedPath>,
    started: Instant,
    status: Option<StatusCode>,
    span: Span,
}

impl Flight {
    pub(super) fn start(host: Arc<Host>, request: &Request, span: Span) -> Self {
        host.metrics.request_started();
        Self {
            host,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            route: request.extensions().get().cloned(),
            started: Instant::now(),
            status: None,
            span,
        }
    }

    pub(super) fn land(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let route = self.route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
        self.host.metrics.request_ended(&self.method, route, self.status, took);
        if let Some(status) = self.status {
            self.span.record(span::STATUS, status.as_u16());
        }
        let _in_span = self.span.enter();
        let (method, path) = (self.method.as_str(), self.path.as_str());
        let status = self.status.map_or(499, |status| status.as_u16());
        // Microseconds are as fine as this can be judged.
        let took_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        // Probes come every second for ever: they would drown what people look for.
        if self.host.is_probe(route) && status < 500 {
            tracing::debug!(target: "mainstay_http::access", method, path, route, status, took_ms, "answered");
        } else {
            tracing::info!(target: "mainstay_http::access", method, path, route, status, took_ms, "answered");
        }
    }
}

/// Whether requests to this route watch a service, in every service.
pub(crate) fn is_probe(route: &str) -> bool {
    matches!(
        route,
        "/distributed/live"
            | "/distributed/ready"
            | "/distributed/health"
            | "/distributed/metrics"
            | "/health"
            | "/metrics"
    )
}
