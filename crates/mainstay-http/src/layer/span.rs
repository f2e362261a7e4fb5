use axum::extract::{MatchedPath, Request};
use mainstay_core::telemetry::trace_context::TraceContext;
use tracing::Span;
use tracing::field::{self, Empty};

use super::request_context::RequestContext;

/// Of the span: the answer's status, once it is known.
pub(super) const STATUS: &str = "otel.http.response.status_code";

/// Of the span: who calls, once that is known.
pub(crate) const CALLER: &str = "caller";

/// The span of a request. Lines have the two ids; the rest is for an exporter of traces, in
/// OpenTelemetry's names, and costs next to nothing where there is none: it is not even printed.
pub(super) fn of(context: &RequestContext, caller: Option<&TraceContext>, request: &Request) -> Span {
    let route = request.extensions().get().map(MatchedPath::as_str);
    let gap = if route.is_some() { " " } else { "" };
    tracing::info_span!(
        "request",
        request_id = context.request_id.as_str(),
        trace_id = context.trace.trace_id().as_str(),
        otel.traceparent = %context.trace,
        otel.parent = caller.map(field::display),
        otel.kind = "server",
        otel.name = %format_args!("{}{gap}{}", request.method(), route.unwrap_or_default()),
        otel.http.request.method = request.method().as_str(),
        otel.http.route = route,
        otel.url.path = request.uri().path(),
        otel.http.response.status_code = Empty,
        caller = Empty,
    )
}
