use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Distributed;
use crate::Json;

/// What `/distributed/redis/status` says, asked for each time. Must answer at once.
#[derive(Clone)]
pub struct StoreStatus(Arc<dyn Fn() -> Value + Send + Sync>);

impl StoreStatus {
    /// Asks `status`, whose object has `connected`, `health`, `mode`, `info` and `memory`.
    #[must_use]
    pub fn new(status: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        Self(Arc::new(status))
    }

    /// Nothing is shared: everything runs in the process.
    #[must_use]
    pub fn embedded() -> Self {
        Self::new(
            || json!({"connected": false, "health": "disabled", "mode": "embedded", "info": null, "memory": null}),
        )
    }
}

impl fmt::Debug for StoreStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreStatus").finish_non_exhaustive()
    }
}

/// State of the Redis connection. Without Redis everything runs in the process, and without a connection on what
/// the process has: neither is a fault of this answer, which is 200.
#[utoipa::path(get, path = "/distributed/redis/status", tag = "mainstay",
    responses((status = 200, description = "`mode` is `embedded` without Redis"), (status = 401)))]
pub(super) async fn status(State(distributed): State<Arc<Distributed>>) -> Response {
    Json((distributed.redis.0)()).into_response()
}
