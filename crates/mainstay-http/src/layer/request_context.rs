use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use mainstay_core::telemetry::RequestId;
use mainstay_core::telemetry::trace_context::{Sampling, TraceContext, TraceState};

use crate::Problem;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
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
    /// Also returns the caller's own part of the trace.
    pub(super) fn of(headers: &HeaderMap, sampling: Sampling) -> (Self, Option<TraceContext>) {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let state = || TraceState::parse(text(TRACESTATE).unwrap_or_default());
        let caller = text(TRACEPARENT).and_then(TraceContext::parse).map(|caller| caller.with_state(state()));
        let trace = match &caller {
            Some(caller) => caller.child(),
            None => TraceContext::new_root().sample(sampling),
        };
        (Self { request_id: RequestId::accept(text(X_REQUEST_ID)), trace }, caller)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        // Outside the standard layers there is no context yet; one made here is as good.
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self::of(&parts.headers, Sampling::NONE).0))
    }
}
