use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use mainstay_core::metrics::Format;

use super::Distributed;
use crate::Json;

/// Every series in the Prometheus text format, or as OpenMetrics where `Accept` asks for it.
#[utoipa::path(get, path = "/distributed/metrics", tag = "mainstay",
    responses((status = 200, description = "The series", content_type = "text/plain"), (status = 401)))]
pub(super) async fn text(State(state): State<Arc<Distributed>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::from_accept(accept);
    let body = state.metrics.render(format);
    ([(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()))], body).into_response()
}

/// The same series as JSON.
#[utoipa::path(get, path = "/distributed/metrics/json", tag = "mainstay",
    responses((status = 200, description = "The series"), (status = 401)))]
pub(super) async fn json(State(state): State<Arc<Distributed>>) -> Response {
    Json(state.metrics.to_json()).into_response()
}
