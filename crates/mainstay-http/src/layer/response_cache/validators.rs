//! Whether a client has an answer already (RFC 9110 §13.1.2 and §13.1.3).

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};

use super::control::members;

/// Whether the request names the version of this answer. Tags are compared weakly; a date only for being the same.
pub(super) fn is_known(request: &HeaderMap, answer: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let tag = answer.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(opaque);
        let lines = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
        return lines
            .flat_map(|line| members(line, false))
            .any(|known| known == "*" || Some(opaque(known)) == tag);
    }
    let since = request.get(header::IF_MODIFIED_SINCE);
    since.is_some() && since == answer.get(header::LAST_MODIFIED)
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// The handler shall answer as if to somebody who has nothing.
pub(super) fn remove_conditions(headers: &mut HeaderMap) {
    headers.remove(header::IF_NONE_MATCH);
    headers.remove(header::IF_MODIFIED_SINCE);
}

/// `304` in place of an answer that the client has.
pub(super) fn answer_condition(request: &HeaderMap, response: Response) -> Response {
    if response.status() != StatusCode::OK || !is_known(request, response.headers()) {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    // They describe the body; its place does not.
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_RANGE,
    ] {
        parts.headers.remove(name);
    }
    Response::from_parts(parts, Body::empty())
}
