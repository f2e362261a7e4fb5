use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use mainstay_core::telemetry::RequestId;
use mainstay_core::telemetry::trace_context::{TraceContext, TraceState};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::metrics::UNMATCHED;
use crate::{Host, Problem};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Who this request is, for handlers: an extractor, and an extension of the request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RequestContext {
    /// Accepted from `X-Request-Id` when it is well formed, otherwise made here. Echoed, logged, and
    /// part of every problem.
    pub request_id: RequestId,
    /// The trace this request belongs to, continued from `traceparent` or begun here. Pass it on with
    /// outbound calls.
    pub trace: TraceContext,
}

impl RequestContext {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let trace =
            text(TRACEPARENT).and_then(TraceContext::parse).map_or_else(TraceContext::new_root, |parent| {
                parent.with_state(TraceState::parse(text(TRACESTATE).unwrap_or_default())).child()
            });
        Self { request_id: RequestId::accept(text(X_REQUEST_ID)), trace }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        // Outside the standard layers there is no context yet; one made here is as good.
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self::of(&parts.headers)))
    }
}

/// The outermost layer: from here on a request has an id, a span, a time limit and an end that is
/// counted and logged, however it ends.
pub(super) async fn observe(State(host): State<Arc<Host>>, mut request: Request, next: Next) -> Response {
    let context = RequestContext::of(request.headers());
    let close = host.is_draining() && request.version() < Version::HTTP_2;
    let timeout = host.limits.load().request_timeout;
    let span = tracing::info_span!(
        "request",
        request_id = %context.request_id,
        trace_id = %context.trace.trace_id(),
    );
    let mut flight = Flight::start(host, &request, span.clone());
    request.extensions_mut().insert(context.clone());

    let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answer = async {
        match tokio::time::timeout(timeout, handled).await {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => {
                tracing::error!(panic = panic_text(panic.as_ref()), "handler panicked");
                Problem::internal_opaque().into_response()
            }
            Err(_) => Problem::timeout().into_response(),
        }
    };
    let mut response = answer.instrument(span).await;

    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = with_request_id(response, problem, context.request_id.as_str());
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(context.request_id.as_str()) {
        headers.insert(X_REQUEST_ID, id);
    }
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    flight.land(response.status());
    response
}

/// Writes the body of a problem again, now with the id; headers that inner layers added stay.
fn with_request_id(response: Response, problem: Problem, id: &str) -> Response {
    let (mut parts, _) = response.into_parts();
    let (fresh, body) = problem.respond(Some(id)).into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_ENCODING);
    for (name, value) in fresh.headers {
        if let Some(name) = name {
            parts.headers.insert(name, value);
        }
    }
    Response::from_parts(parts, body)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// A request on its way. Counts and logs the end, also when the client leaves and hyper drops us.
struct Flight {
    host: Arc<Host>,
    method: Method,
    path: String,
    route: Option<MatchedPath>,
    started: Instant,
    status: Option<StatusCode>,
    span: Span,
}

impl Flight {
    fn start(host: Arc<Host>, request: &Request, span: Span) -> Self {
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

    fn land(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let route = self.route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
        self.host.metrics.request_ended(&self.method, route, self.status, took);
        let _in_span = self.span.enter();
        let (method, path) = (self.method.as_str(), self.path.as_str());
        let status = self.status.map_or(499, |status| status.as_u16());
        let took_ms = took.as_secs_f64() * 1e3;
        // Probes come every second for ever: they would drown what people look for.
        if is_probe(route) && status < 500 {
            tracing::debug!(target: "mainstay_http::access", method, path, route, status, took_ms);
        } else {
            tracing::info!(target: "mainstay_http::access", method, path, route, status, took_ms);
        }
    }
}

fn is_probe(route: &str) -> bool {
    matches!(
        route,
        "/distributed/live" | "/distributed/ready" | "/distributed/health" | "/distributed/metrics"
    )
}
