use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use futures_util::future::{BoxFuture, Either};
use http::{HeaderValue, Version, header};
use mainstay_core::shed::Shed;
use mainstay_core::telemetry::trace_context::Sampling;
use tower::{Layer, Service};
use tracing::Instrument;

use super::flight::Flight;
use super::request_context::{RequestContext, X_REQUEST_ID};
use super::{negotiate, security, span};
use crate::server::Encrypted;
use crate::{Host, Limits, Problem};

/// See the [module](super).
#[derive(Debug, Clone)]
pub(super) struct StandardLayer(Arc<Host>);

impl StandardLayer {
    pub(super) fn new(host: &Arc<Host>) -> Self {
        Self(Arc::clone(host))
    }
}

impl<S> Layer<S> for StandardLayer {
    type Service = Standard<S>;

    fn layer(&self, inner: S) -> Standard<S> {
        Standard { host: Arc::clone(&self.0), inner }
    }
}

/// From here on a request has an id, a span, limits, and an end that is counted and logged, however it
/// ends.
#[derive(Debug, Clone)]
pub(super) struct Standard<S> {
    host: Arc<Host>,
    inner: S,
}

impl<S> Service<Request> for Standard<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Future<Output = Result<Response, Infallible>> + Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let close = self.host.is_draining() && request.version() < Version::HTTP_2;
        let limits = self.host.limits.load_full();
        let encrypted = request.extensions().get::<Encrypted>().is_some();
        let hsts = Some(limits.hsts_max_age).filter(|max_age| encrypted && !max_age.is_zero());
        let route = request.extensions().get().map(MatchedPath::as_str);
        let is_probe = route.is_some_and(|route| self.host.is_probe(route));
        let sampling = if is_probe { Sampling::NONE } else { limits.sampling };
        let (context, caller) = RequestContext::of(request.headers(), sampling);
        let span = span::of(&context, caller.as_ref(), &request);
        let flight = Flight::start(Arc::clone(&self.host), &request, span.clone());
        request.extensions_mut().insert(context.clone());
        let handled = match self.host.queue.admit(&request, is_probe) {
            Ok(()) => Either::Left(negotiate::call(&mut self.inner, request, &limits)),
            Err(shed) => Either::Right(ready(Ok(overloaded(shed)))),
        };
        Box::pin(finish(handled, context, limits, Ends { close, hsts }, flight).instrument(span))
    }
}

/// Nothing was done: whoever can should ask another instance.
fn overloaded(shed: Shed) -> Response {
    let seconds = u32::try_from(shed.retry_after.as_secs()).unwrap_or(u32::MAX).max(1);
    Problem::unavailable(seconds).detail("The service is overloaded. Nothing was done.").into_response()
}

/// What an answer says of the connection.
struct Ends {
    close: bool,
    hsts: Option<Duration>,
}

async fn finish(
    handled: impl Future<Output = Result<Response, Infallible>> + Send,
    context: RequestContext,
    limits: Arc<Limits>,
    ends: Ends,
    mut flight: Flight,
) -> Result<Response, Infallible> {
    let mut response = handled.await?;
    let id = context.request_id.as_str();
    let problem = response.extensions_mut().remove().or_else(|| Problem::in_place_of(&response));
    if let Some(problem) = problem {
        response = with_request_id(response, problem, id);
    }
    let status = response.status();
    let headers = response.headers_mut();
    negotiate::vary(headers, &limits);
    security::add_defaults(status, headers);
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(X_REQUEST_ID, id);
    }
    if let Some(max_age) = ends.hsts {
        security::bind_to_tls(headers, max_age);
    }
    if ends.close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    flight.land(status);
    Ok(response)
}

/// Writes the body of a problem again, now with the id; headers that inner layers added stay.
fn with_request_id(response: Response, problem: Problem, id: &str) -> Response {
    let (mut parts, _) = response.into_parts();
    let (fresh, body) = problem.respond(Some(id)).into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_ENCODING);
    // In place of those with the same name.
    parts.headers.extend(fresh.headers);
    Response::from_parts(parts, body)
}
