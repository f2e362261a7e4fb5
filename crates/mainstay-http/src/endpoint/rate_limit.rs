use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use mainstay_core::config;
use mainstay_core::rate_limit::Quota;
use serde_json::json;

use super::Distributed;
use crate::layer::ask;
use crate::{Json, Problem, RateLimitRule, TrustedProxies};

/// A quota to try clients and proxies with.
const TEST: Quota = Quota::per_minute(10).named("test");

/// Counts itself: ten a minute for each client.
#[utoipa::path(get, path = "/distributed/rate-limit/test", tag = "mainstay", responses(
    (status = 200, description = "`{allowed: true, remaining}`, with `RateLimit` and `RateLimit-Policy`"),
    (status = 401), (status = 429, description = "Too many; `Retry-After` says when"),
    (status = 503, description = "The limiter's store is away")))]
pub(super) async fn test(
    State(state): State<Arc<Distributed>>,
    request: Request,
) -> Result<Response, Problem> {
    let proxies = TrustedProxies::parse(&state.config.get::<config::RateLimit>().trusted_proxies)
        .map_err(|error| Problem::internal(&error))?;
    let rule = RateLimitRule::per_client(TEST).trusting(proxies);
    let standing = ask(&state.rate_limiter, &rule, &rule.key(&request)).await?;
    let mut response = Json(json!({"allowed": true, "remaining": standing.remaining()})).into_response();
    standing.tell(response.headers_mut());
    Ok(response)
}
