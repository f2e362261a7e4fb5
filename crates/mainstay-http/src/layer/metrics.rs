use std::time::Duration;

use http::{Method, StatusCode};
use mainstay_core::metrics::{Counter, Gauge, Metrics, Unit};

use crate::server::{Reason, Refused};

/// Rate, errors and duration of requests, by route template and never by path, so that clients cannot
/// make series.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    metrics: Metrics,
    in_flight: Gauge,
    connections: Gauge,
    refused: [Counter; 3],
    ended: [Counter; Reason::ALL.len()],
}

const DURATION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Route label of a request that matched nothing.
pub(crate) const UNMATCHED: &str = "unmatched";

impl HttpMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        metrics.describe_counter("http_requests_total", Unit::None, "Requests answered, by route template.");
        metrics.describe_histogram(
            "http_request_duration_seconds",
            Unit::Seconds,
            "Time from a request's head to its response's head.",
            DURATION_BUCKETS,
        );
        metrics.describe_gauge("http_requests_in_flight", Unit::None, "Requests being handled.");
        metrics.describe_gauge("http_connections", Unit::None, "Open connections.");
        metrics.describe_counter(
            "http_connections_refused_total",
            Unit::None,
            "Connections closed at once because the limit of all or of one client was reached.",
        );
        metrics.describe_counter(
            "http_connections_ended_total",
            Unit::None,
            "Connections that the server ended, and why. After reason=body it ends with the answer, on HTTP/1.1.",
        );
        Self {
            in_flight: metrics.gauge("http_requests_in_flight").with(&[]),
            connections: metrics.gauge("http_connections").with(&[]),
            refused: Refused::ALL
                .map(|by| metrics.counter("http_connections_refused_total").with(&[("limit", by.label())])),
            ended: Reason::ALL.map(|reason| {
                metrics.counter("http_connections_ended_total").with(&[("reason", reason.label())])
            }),
            metrics: metrics.clone(),
        }
    }

    pub(crate) fn request_started(&self) {
        self.in_flight.add(1.0);
    }

    /// `status` is `None` when the client left before the answer.
    pub(crate) fn request_ended(
        &self,
        method: &Method,
        route: &str,
        status: Option<StatusCode>,
        took: Duration,
    ) {
        self.in_flight.sub(1.0);
        let method = known(method);
        let status = status.as_ref().map_or("gone", StatusCode::as_str);
        self.metrics
            .counter("http_requests_total")
            .with(&[("method", method), ("route", route), ("status", status)])
            .increment(1);
        self.metrics
            .histogram("http_request_duration_seconds")
            .with(&[("method", method), ("route", route)])
            .record_duration(took);
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.add(1.0);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.sub(1.0);
    }

    pub(crate) fn connection_refused(&self, by: Refused) {
        self.refused[by as usize].increment(1);
    }

    pub(crate) fn connection_ended(&self, reason: Reason) {
        self.ended[reason as usize].increment(1);
    }
}

/// A client may invent methods; a label may not grow with them.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => method.as_str(),
        _ => "other",
    }
}
