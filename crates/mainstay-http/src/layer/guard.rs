use std::convert::Infallible;
use std::future::{Future, ready};
use std::panic::AssertUnwindSafe;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::Either;
use http_body_util::Limited;
use mainstay_core::task::panic_message;
use tower::Service;

use crate::{Limits, Problem};

/// The limit that the body of this request is held to, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// What a handler may do to the server. A body that announces too much is refused and one that turns out
/// to be too long is cut off, whoever reads it; a handler that takes too long is dropped; one that panics
/// ends alone. Inside of CORS, so that a page may read these answers, too.
pub(super) fn call<S>(
    inner: &mut S,
    request: Request,
    limits: &Limits,
) -> impl Future<Output = Result<Response, Infallible>> + Send + use<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send,
{
    match limited(request, limits.body_limit) {
        Ok(request) => {
            let handled = AssertUnwindSafe(inner.call(request)).catch_unwind();
            Either::Left(tokio::time::timeout(limits.request_timeout, handled).map(|outcome| match outcome {
                Ok(Ok(response)) => response,
                Ok(Err(panic)) => {
                    tracing::error!(panic = panic_message(&*panic), "handler panicked");
                    Ok(Problem::internal_opaque().into_response())
                }
                Err(_) => Ok(Problem::timeout().into_response()),
            }))
        }
        Err(problem) => Either::Right(ready(Ok(problem.into_response()))),
    }
}

fn limited(request: Request, limit: usize) -> Result<Request, Problem> {
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
