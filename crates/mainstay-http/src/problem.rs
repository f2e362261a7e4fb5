//! Errors as clients read them: RFC 9457 `application/problem+json`.
//!
//! What a client reads and what the log records are two texts. A [`Problem`] holds only the first:
//! a stable `type`, a title, a detail safe to show, the fields at fault. The cause goes to the log
//! through [`Problem::internal`], joined by the request id that both carry.

use std::borrow::Cow;
use std::error::Error as StdError;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of a problem.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// One field of the request that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct FieldError {
    /// Name of the field as the client sent it, dotted where it is nested: `address.city`.
    pub field: String,
    /// Stable word for programs: `required`, `too_long`, `format`, ….
    pub code: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
}

impl FieldError {
    /// An error of `field`.
    pub fn new(
        field: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), code: code.into(), message: message.into() }
    }
}

/// An answer that says what went wrong and what to do, as RFC 9457 describes it.
///
/// ```
/// use mainstay_http::Problem;
/// use axum::response::IntoResponse;
///
/// let response = Problem::not_found("No user has this id.").into_response();
/// assert_eq!(response.status(), 404);
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// ```
#[derive(Debug, Clone)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: Option<String>,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The JSON of a problem. `type` is stable; match on it, not on the texts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemBody<'a> {
    /// `urn:mainstay:problem:` and a stable word: `not-found`, `validation`, ….
    #[serde(rename = "type")]
    kind: String,
    /// What this type of problem is, in a few words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// The id under which the log has this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// The fields at fault, all of them at once.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    /// A problem of a kind of your own. `kind` is the stable last word of the `type`.
    #[must_use]
    pub fn new(status: StatusCode, kind: &'static str, title: &'static str) -> Self {
        let (detail, errors, headers) = (None, Vec::new(), Vec::new());
        Self(Box::new(Inner { status, kind, title, detail, errors, headers }))
    }

    /// Says what happened this time. Must be safe for any client to read.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Names the fields at fault.
    #[must_use]
    pub fn errors(mut self, errors: impl IntoIterator<Item = FieldError>) -> Self {
        self.0.errors.extend(errors);
        self
    }

    /// Adds a response header, such as `Retry-After`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request cannot be understood").detail(detail)
    }

    /// 401: no valid credentials.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Valid credentials are required")
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403: the caller is known and may not.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "The caller may not do this")
    }

    /// 404: nothing is here.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Nothing is here").detail(detail)
    }

    /// 405: the path exists, the method does not.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "This path does not answer that method",
        )
    }

    /// 409: the request clashes with what is stored.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "The request clashes with what is stored").detail(detail)
    }

    /// 412: the resource changed since the client read it.
    #[must_use]
    pub fn precondition_failed() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition-failed",
            "The resource changed since it was read",
        )
        .detail("Read it again, then repeat the change with the new ETag.")
    }

    /// 413: the body is larger than `limit` bytes.
    #[must_use]
    pub fn payload_too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", "The body is too large")
            .detail(format!("A body may have {limit} bytes."))
    }

    /// 431: the head has more fields than `limit`.
    pub(crate) fn too_many_headers(limit: usize) -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too-many-headers",
            "The head of the request has too many fields",
        )
        .detail(format!("A head may have {limit} fields."))
    }

    /// 422: the request is well formed, but its content is refused. Lists every field at fault.
    pub fn validation(errors: impl IntoIterator<Item = FieldError>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation", "Some fields are not valid").errors(errors)
    }

    /// 503: a dependency is away; `retry_after` in whole seconds.
    #[must_use]
    pub fn unavailable(retry_after_seconds: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service cannot answer right now")
            .header(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds))
    }

    /// 408: the client did not send its body in time.
    pub(crate) fn request_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", "The body of the request came too slowly")
    }

    /// 503: the request took longer than the server allows.
    #[must_use]
    pub fn timeout() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "The request took too long")
            .detail("Whether it had an effect is not known.")
    }

    /// 500: a fault of ours. The cause is logged with all its sources; the client reads none of it.
    #[must_use]
    pub fn internal(cause: &(dyn StdError + 'static)) -> Self {
        Self::internal_opaque().because(cause)
    }

    /// 500 for a fault that is already logged.
    #[must_use]
    pub fn internal_opaque() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The service failed")
            .detail("The fault is recorded under this request id.")
    }

    /// For an error that came without a body or with plain text: of a path that no route has, of an
    /// extractor that is not ours, of a handler that answers a bare status. Clients read one format.
    pub(crate) fn in_place_of(response: &Response) -> Option<Self> {
        let status = response.status();
        let mut content_type = response.headers().get(header::CONTENT_TYPE).into_iter();
        let plain = content_type.all(|content_type| content_type.as_bytes().starts_with(b"text/plain"));
        let kind = match status {
            _ if !plain => return None,
            StatusCode::NOT_FOUND => return Some(Self::not_found("Nothing has this path.")),
            _ if status.is_client_error() => "refused",
            _ if status.is_server_error() => "internal",
            _ => return None,
        };
        Some(Self::new(status, kind, status.canonical_reason().unwrap_or("The request failed")))
    }

    /// Logs why, with all the sources of `cause`, for whoever reads the log under this request id. The
    /// client reads none of it.
    #[must_use]
    pub fn because(self, cause: &(dyn StdError + 'static)) -> Self {
        let mut chain = cause.to_string();
        let mut source = cause.source();
        while let Some(next) = source {
            chain.push_str(": ");
            chain.push_str(&next.to_string());
            source = next.source();
        }
        tracing::error!(error = chain, problem = self.0.kind, "request failed");
        self
    }

    /// The body, with the request id where it is known.
    fn body(&self, request_id: Option<&str>) -> Vec<u8> {
        let Inner { status, kind, title, detail, errors, .. } = &*self.0;
        let body = ProblemBody {
            kind: format!("urn:mainstay:problem:{kind}"),
            title,
            status: status.as_u16(),
            detail: detail.as_deref(),
            request_id,
            errors,
        };
        serde_json::to_vec(&body).expect("a struct of strings and numbers always serializes")
    }

    pub(crate) fn respond(self, request_id: Option<&str>) -> Response {
        let mut response = Response::new(Body::from(self.body(request_id)));
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.0.headers {
            headers.append(name, value.clone());
        }
        // The observing layer knows the request id and writes the body again with it.
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.respond(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_type_status_and_fields() {
        let problem = Problem::validation([FieldError::new("email", "format", "is not an e-mail address")]);
        let body: serde_json::Value = serde_json::from_slice(&problem.body(Some("r-1"))).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:mainstay:problem:validation",
                "title": "Some fields are not valid",
                "status": 422,
                "requestId": "r-1",
                "errors": [{"field": "email", "code": "format", "message": "is not an e-mail address"}],
            })
        );
    }

    #[test]
    fn an_internal_fault_shows_nothing_of_its_cause() {
        let cause = std::io::Error::other("password=hunter2");
        let body = String::from_utf8(Problem::internal(&cause).body(None)).unwrap();
        assert!(!body.contains("hunter2"), "{body}");
    }
}
