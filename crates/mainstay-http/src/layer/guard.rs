use std::convert::Infallible;
use std::future::{Future, ready};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::Either;
use http::{HeaderName, HeaderValue};
use http_body_util::Limited;
use mainstay_core::deadline::{self, Deadline};
use mainstay_core::retry::{self, watched};
use mainstay_core::task::panic_message;
use mainstay_core::telemetry::trace_context::TraceContext;
use tower::Service;

use super::request_context::RequestContext;
use crate::server::{MAX_HEADERS, SlowBody};
use crate::{Limits, Problem};

/// The limit that the body of this request is held to, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// What a handler may do to the server. A body that announces too much is refused and one that turns out
/// to be too long is cut off, whoever reads it; a handler that takes too long, by the server's measure or by that of
/// its caller, is dropped; one that panics ends alone. Calls that it makes find its deadline and its trace around them. Inside of CORS, so that a page may read these answers, too.
pub(super) fn call<S>(
    inner: &mut S,
    request: Request,
    limits: &Limits,
) -> impl Future<Output = Result<Response, Infallible>> + Send + use<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send,
{
    let slow = request.extensions().get::<SlowBody>().cloned();
    match limited(request, limits.body_limit) {
        Ok(request) => {
            let (deadline, trace) = (deadline(&request, limits.request_timeout), trace(&request));
            let handled = AssertUnwindSafe(inner.call(request)).catch_unwind();
            let handled = deadline.scope(trace.scope(watched(handled)));
            Either::Left(tokio::time::timeout_at(deadline.instant(), handled).map(
                move |outcome| match outcome {
                    Ok((Ok(Ok(response)), _))
                        if slow.is_some_and(|slow| slow.happened()) && is_error(&response) =>
                    {
                        Ok(Problem::request_timeout().into_response())
                    }
                    Ok((Ok(response), gave_up)) => response.map(|response| refrain(response, gave_up)),
                    Ok((Err(panic), _)) => {
                        tracing::error!(panic = panic_message(&*panic), "handler panicked");
                        Ok(Problem::internal_opaque().into_response())
                    }
                    Err(_) => Ok(Problem::timeout().into_response()),
                },
            ))
        }
        Err(problem) => Either::Right(ready(Ok(problem.into_response()))),
    }
}

/// When this is of no use any more: to the server, or to a caller who said so.
fn deadline(request: &Request, timeout: Duration) -> Deadline {
    let own = Deadline::after(timeout);
    let asked = request.headers().get(deadline::HEADER).and_then(|header| header.to_str().ok());
    asked.and_then(|header| Deadline::parse(header).ok()).map_or(own, |asked| asked.min(own))
}

fn trace(request: &Request) -> TraceContext {
    let context = request.extensions().get().map(|context: &RequestContext| context.trace.clone());
    context.unwrap_or_else(TraceContext::new_root)
}

fn is_error(response: &Response) -> bool {
    response.status().is_client_error() || response.status().is_server_error()
}

/// A caller must not try again what was tried again here.
fn refrain(mut response: Response, gave_up: bool) -> Response {
    if gave_up && response.status().is_server_error() {
        let name = HeaderName::from_static(retry::HEADER);
        response.headers_mut().insert(name, HeaderValue::from_static(retry::HEADER_NO));
    }
    response
}

fn limited(request: Request, limit: usize) -> Result<Request, Problem> {
    if request.headers().len() > MAX_HEADERS {
        return Err(Problem::too_many_headers(MAX_HEADERS));
    }
    if request.body().is_end_stream() {
        return Ok(request);
    }
    if request.body().size_hint().lower() > limit as u64 {
        return Err(Problem::payload_too_large(limit));
    }
    let mut request = request.map(|body| Body::new(Limited::new(body, limit)));
    request.extensions_mut().insert(BodyLimit(limit));
    Ok(request)
}
