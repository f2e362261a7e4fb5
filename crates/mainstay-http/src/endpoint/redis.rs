use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::Json;

/// State of the Redis connection. Without Redis everything runs in the process, which is no fault: 200.
#[utoipa::path(get, path = "/distributed/redis/status", tag = "mainstay",
    responses((status = 200, description = "`mode` is `embedded` without Redis"), (status = 401)))]
pub(super) async fn status() -> Response {
    Json(json!({"connected": false, "health": "disabled", "mode": "embedded", "info": null, "memory": null}))
        .into_response()
}
