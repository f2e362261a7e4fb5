//! What stands around every route, outermost first: [`observe`] (request id, span, access log,
//! metrics, panic, time limit, problem bodies), security headers, CORS, compression, body limit.

mod body_limit;
mod cors;
mod metrics;
mod observe;
mod security;

pub(crate) use body_limit::BodyLimit;
pub(crate) use metrics::HttpMetrics;
pub use observe::RequestContext;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::compression::CompressionLayer;

use crate::{Host, Problem};

pub(crate) fn wrap(host: &Arc<Host>, routes: Router) -> Router {
    // The last layer added is the outermost.
    routes
        .fallback(async || Problem::not_found("No route has this path."))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(host), body_limit::body_limit))
        .layer(CompressionLayer::new())
        .layer(cors::layer(Arc::clone(host)))
        .layer(from_fn(security::headers))
        .layer(from_fn_with_state(Arc::clone(host), observe::observe))
}
