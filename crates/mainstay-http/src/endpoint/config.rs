use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::Distributed;
use crate::Json;

/// The effective configuration with the origin of each value. Secrets are redacted by their type.
#[utoipa::path(get, path = "/distributed/config", tag = "mainstay",
    responses((status = 200, description = "Sections of `{value, origin}`"), (status = 401)))]
pub(super) async fn config(State(state): State<Arc<Distributed>>) -> Response {
    Json(state.config.to_json()).into_response()
}
