use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use mainstay_core::health::Status;
use serde_json::json;

use super::Distributed;
use crate::Json;

const NO_STORE: (http::HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// Whether the process works at all. Touches no dependency: a restart would not mend one.
#[utoipa::path(get, path = "/distributed/live", tag = "mainstay",
    responses((status = 200, description = "The process is alive"), (status = 503, description = "It should be restarted")))]
pub(super) async fn live(State(state): State<Arc<Distributed>>) -> Response {
    let live = state.health.live();
    let code = if live.alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [NO_STORE], Json(live)).into_response()
}

/// Whether to send requests here.
#[utoipa::path(get, path = "/distributed/ready", tag = "mainstay",
    responses((status = 200, description = "Send requests"), (status = 503, description = "Send none; `failedChecks` says why")))]
pub(super) async fn ready(State(state): State<Arc<Distributed>>) -> Response {
    let readiness = state.health.ready();
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [NO_STORE], Json(readiness)).into_response()
}

/// State of every check, from a snapshot. Without permission only the overall status is shown.
///
/// `Accept: application/health+json` selects the format of the expired draft-inadarei-api-health-check.
#[utoipa::path(get, path = "/distributed/health", tag = "mainstay",
    responses((status = 200, description = "Healthy or degraded"), (status = 503, description = "A critical check fails")))]
pub(super) async fn health(State(state): State<Arc<Distributed>>, request: Parts) -> Response {
    let report = state.health.report();
    let code =
        if report.status == Status::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    if !state.access.allows(&request).await {
        return (code, [NO_STORE], Json(json!({"status": report.status}))).into_response();
    }
    if wants_health_json(&request.headers) {
        let mut response = (code, [NO_STORE], Json(report.to_health_json())).into_response();
        let health_json = HeaderValue::from_static("application/health+json");
        response.headers_mut().insert(header::CONTENT_TYPE, health_json);
        return response;
    }
    (code, [NO_STORE], Json(report)).into_response()
}

fn wants_health_json(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|accept| accept.contains("application/health+json"))
}
