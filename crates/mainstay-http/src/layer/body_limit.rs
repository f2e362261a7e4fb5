use axum::body::{Body, HttpBody};
use axum::extract::Request;
use http_body_util::Limited;

use crate::Problem;

/// The limit that the body of this request is held to, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// Refuses a body that announces too much, and sees to it that one that turns out to be too long is cut
/// off, whoever reads it.
pub(super) fn limited(request: Request, limit: usize) -> Result<Request, Problem> {
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
