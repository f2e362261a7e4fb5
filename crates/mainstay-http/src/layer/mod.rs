//! What stands around every route, as one layer: request id, span, access log, metrics, panic and time
//! limit, body limit, problem bodies, security headers, and for clients that ask, CORS and compression.
//!
//! One layer and not seven: each `Router::layer` costs every request a clone of the service and an
//! allocation.

mod concurrency;
mod flight;
mod guard;
mod identity;
mod metrics;
mod negotiate;
mod rate_limit;
mod request_context;
mod response_cache;
mod security;
mod span;
mod standard;

pub use concurrency::{ConcurrencyLayer, ConcurrencyLimited, ConcurrencyRule};
pub(crate) use flight::is_probe;
pub(crate) use guard::BodyLimit;
pub(crate) use metrics::HttpMetrics;
pub(crate) use rate_limit::ask;
pub use rate_limit::{RateLimitFields, RateLimitLayer, RateLimitRule, RateLimited};
pub use request_context::RequestContext;
pub use response_cache::{ResponseCacheLayer, ResponseCacheRule, ResponseCached, ResponseTarget};
pub(crate) use span::CALLER;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tower::ServiceBuilder;

use crate::{Host, Problem};

pub(crate) fn wrap(host: &Arc<Host>, routes: Router) -> Router {
    let layers = ServiceBuilder::new()
        .layer(standard::StandardLayer::new(host))
        // Ours counts for whoever reads the body, not only for axum's extractors.
        .layer(DefaultBodyLimit::disable());
    routes.method_not_allowed_fallback(async || Problem::method_not_allowed()).layer(layers)
}
