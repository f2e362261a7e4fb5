use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{Distributed, breakers};
use crate::Json;

/// What a service says of itself at `/distributed/info`.
#[derive(Debug, Clone)]
pub struct Info {
    /// Name of the service.
    pub service: String,
    /// Its version.
    pub version: String,
    /// `development`, `test` or `production`.
    pub environment: String,
    /// This process among others of the service.
    pub instance_id: String,
    /// Where it runs, if that is known.
    pub region: Option<String>,
    /// Where in the region it runs, if that is known.
    pub zone: Option<String>,
    /// When the process started.
    pub started_at: Timestamp,
    /// The parts in use.
    pub components: Vec<Component>,
}

/// A part of the service, where its state lies, and what it does when that place is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Component {
    /// `database`, `cache`, ….
    pub name: &'static str,
    /// `sqlite`, `memory`, `redis`, ….
    pub backend: &'static str,
    /// What a caller sees when the store is down: one of the words of the degrade contract, explained.
    pub when_store_is_down: &'static str,
}

impl Component {
    /// A part and its degrade rule.
    #[must_use]
    pub const fn new(name: &'static str, backend: &'static str, when_store_is_down: &'static str) -> Self {
        Self { name, backend, when_store_is_down }
    }
}

/// Service, build, system, what each component does when its store is down, and how each circuit breaker stands.
#[utoipa::path(get, path = "/distributed/info", tag = "mainstay",
    responses((status = 200, description = "What runs here"), (status = 401)))]
pub(super) async fn info(State(state): State<Arc<Distributed>>) -> Response {
    let info = &state.info;
    Json(json!({
        "service": {
            "name": info.service,
            "version": info.version,
            "environment": info.environment,
            "instanceId": info.instance_id,
            "region": info.region,
            "zone": info.zone,
            "startedAt": info.started_at.to_string(),
            "uptime": state.health.live().uptime,
        },
        "build": {
            "mainstay": env!("CARGO_PKG_VERSION"),
            "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
            "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        },
        "system": {
            "pid": std::process::id(),
            "cpus": std::thread::available_parallelism().map_or(1, usize::from),
        },
        "components": info.components,
        "breakers": breakers::all(&state),
    }))
    .into_response()
}
