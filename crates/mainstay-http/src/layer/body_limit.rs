use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::Limited;

use crate::{Host, Problem};

/// The limit that the body of this request is held to, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// Refuses a body that announces too much, and cuts off one that turns out to be too long, whoever reads it.
pub(super) async fn body_limit(State(host): State<Arc<Host>>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let limit = host.limits.load().body_limit;
    if request.body().size_hint().lower() > limit as u64 {
        return Problem::payload_too_large(limit).into_response();
    }
    let mut request = request.map(|body| Body::new(Limited::new(body, limit)));
    request.extensions_mut().insert(BodyLimit(limit));
    next.run(request).await
}
