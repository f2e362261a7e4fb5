use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{bounded, refuse};
use crate::Problem;

/// A JSON body, in or out.
///
/// Refuses with a problem: `415` for another content type, `413` for a body above the limit, `400`
/// for text that is not JSON (with line and column), `422` for JSON of another shape (with the field).
/// As `Option<Json<T>>` it also takes a request without a body, which is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(not_json());
        }
        parse(&read(request, state).await?).map(Json)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        let json = is_json(request.headers());
        let body = read(request, state).await?;
        match (body.is_empty(), json) {
            (true, _) => Ok(None),
            (false, false) => Err(not_json()),
            (false, true) => parse(&body).map(|value| Some(Json(value))),
        }
    }
}

fn not_json() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        "This content type is not understood here",
    )
    .detail("Send `Content-Type: application/json`.")
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let limit = request.extensions().get::<crate::layer::BodyLimit>().map_or(usize::MAX, |limit| limit.0);
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::payload_too_large(limit)
        } else {
            Problem::bad_request("The body ended before it was whole.")
        }
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| if error.inner().is_data() { refuse(&error) } else { malformed(error.inner()) })?;
    json.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::bad_request(format!("The body is not JSON: {}.", bounded(&error.to_string())))
}

/// `application/json`, with parameters or with a `+json` suffix.
fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}
