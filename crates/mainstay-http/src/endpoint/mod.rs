//! The `/distributed/*` endpoints that every service has.
//!
//! `live`, `ready` and the status of `health` are open, because orchestrators and load balancers ask
//! them; everything else follows [`crate::access`]. What changes something leaves a line in the log under the target
//! `mainstay::audit`: who, what, and what became of it.
//!
//! A service with a second listener (`METRICS_PORT`) has those only there ([`Exposure::sensitive`]).
//!
//! Those of a primitive (`cache`, `lock`, `rate-limit`, `breakers`, `events`) have rules in common. Times are whole
//! milliseconds. A name in the path is any text, percent-encoded; one that is not UTF-8 is `400`, one that
//! the primitive refuses `422`. `503` says that the store is away and nothing has happened, `504` that it did
//! not answer and something may have: the first may be repeated as it is, the second only by who knows that
//! doing it twice is harmless.

mod api_docs;
mod breakers;
mod cache;
mod config;
#[cfg(feature = "docs")]
mod docs_page;
mod events;
mod health;
mod info;
mod jwks;
mod lock;
mod metrics;
mod name;
mod rate_limit;
mod redis;
mod store;

pub use api_docs::api_docs;
pub use events::{Backlog, EventBus};
pub use info::{Component, Info};
pub use jwks::jwks;
pub use redis::StoreStatus;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{Method, StatusCode};
use mainstay_core::breaker::Breakers;
use mainstay_core::cache::Cache;
use mainstay_core::config::Config;
use mainstay_core::event::Events;
use mainstay_core::health::Health;
use mainstay_core::lock::Locks;
use mainstay_core::metrics::Metrics;
use mainstay_core::rate_limit::RateLimiter;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Access, READ, Visitor, WRITE};
use crate::auth::{Rule, describe, operations};

/// What the endpoints answer from.
#[derive(Debug)]
pub struct Distributed {
    /// Source of `live`, `ready` and `health`.
    pub health: Health,
    /// Source of `metrics`.
    pub metrics: Metrics,
    /// Source of `config`.
    pub config: Config,
    /// Source of `info`.
    pub info: Info,
    /// Who may see the sensitive ones.
    pub access: Access,
    /// Source of `redis/status`.
    pub redis: StoreStatus,
    /// Behind `cache`.
    pub cache: Cache,
    /// Behind `lock`.
    pub locks: Locks,
    /// Behind `rate-limit`.
    pub rate_limiter: RateLimiter,
    /// Behind `breakers`, and shown by `info`.
    pub breakers: Breakers,
    /// Behind `events`.
    pub events: Events,
    /// Where they are.
    pub event_bus: EventBus,
}

/// Which of them exist, and the short aliases of two.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exposure {
    /// Path of `health` beside `/distributed/health`; `None` leaves the endpoint out. A path below
    /// `/distributed/` adds no alias.
    pub health: Option<String>,
    /// Path of `metrics` beside `/distributed/metrics`; `None` leaves the endpoints out.
    pub metrics: Option<String>,
    /// Whether there are those that are not open to everybody.
    pub sensitive: bool,
}

impl Exposure {
    /// All endpoints, with the usual aliases.
    #[must_use]
    pub fn all() -> Self {
        Self { health: Some("/health".to_owned()), metrics: Some("/metrics".to_owned()), sensitive: true }
    }
}

/// Every endpoint, to be given a [`Distributed`] as its state.
pub fn api(access: Access, exposure: &Exposure) -> OpenApiRouter<Arc<Distributed>> {
    let mut open = OpenApiRouter::new().routes(routes!(health::live)).routes(routes!(health::ready));
    if let Some(alias) = &exposure.health {
        open = open.routes(routes!(health::health));
        if !alias.starts_with("/distributed/") {
            open = open.route(alias, get(health::health));
        }
    }
    if !exposure.sensitive {
        return open;
    }
    let mut sensitive = OpenApiRouter::new()
        .routes(routes!(config::config))
        .routes(routes!(info::info))
        .routes(routes!(redis::status))
        .routes(routes!(cache::get, cache::set, cache::delete))
        .routes(routes!(lock::acquire, lock::release))
        .routes(routes!(rate_limit::test))
        .routes(routes!(breakers::force))
        .routes(routes!(events::standing))
        .routes(routes!(events::publish))
        .routes(routes!(events::redrive));
    if let Some(alias) = &exposure.metrics {
        sensitive = sensitive.routes(routes!(metrics::text)).routes(routes!(metrics::json));
        if !alias.starts_with("/distributed/") {
            sensitive = sensitive.route(alias, get(metrics::text));
        }
    }
    for item in sensitive.get_openapi_mut().paths.paths.values_mut() {
        for (method, operation) in operations(item) {
            let permission = if method == Method::GET { READ } else { WRITE };
            describe(operation, Rule::Permission(permission));
        }
    }
    open.merge(sensitive.route_layer(from_fn_with_state(access, guard)))
}

async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let visitor = match access.check(&parts).await {
        Ok(visitor) => visitor,
        Err(problem) => return problem.into_response(),
    };
    let request = Request::from_parts(parts, body);
    if request.method() == Method::GET || request.method() == Method::HEAD {
        return next.run(request).await;
    }
    let change = Change {
        by: visitor,
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        status: None,
    };
    let response = next.run(request).await;
    change.answered(response.status());
    response
}

/// The line in the log about a change. Written when it is dropped: a client that hangs up takes the handler with
/// it, and what the handler has done by then must not go unseen.
struct Change {
    by: Visitor,
    method: Method,
    path: String,
    status: Option<StatusCode>,
}

impl Change {
    fn answered(mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        let Self { by, method, path, status } = self;
        match status.map(|status| status.as_u16()) {
            Some(status) => {
                tracing::info!(target: "mainstay::audit", %by, %method, path, status, "changed by hand");
            }
            None => tracing::warn!(
                target: "mainstay::audit", %by, %method, path, "given up by its client; may have been changed by hand"
            ),
        }
    }
}
