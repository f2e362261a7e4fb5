//! Limits on how much each client may ask, as a layer.

mod fields;
mod rule;
mod standing;

pub use fields::RateLimitFields;
pub(super) use fields::{EXPOSED, retry_seconds};
pub use rule::RateLimitRule;
pub(crate) use standing::ask;

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use mainstay_core::rate_limit::RateLimiter;
use tower::{Layer, Service};

/// Refuses requests above a quota: `429` with `Retry-After`, and `503` where the limiter's store is away and
/// its policy is to deny. Every answer says where the client stands ([`RateLimitFields`]).
///
/// Give it to [`Router::route_layer`](axum::Router::route_layer), so that only requests for a route count.
/// CORS preflights are answered before they come here. Clones are the same layer: keep one to change the
/// rule while the service runs.
///
/// ```
/// use axum::{Router, routing::get};
/// use mainstay_core::{metrics::Metrics, rate_limit::{Options, Quota, RateLimiter}, time::Clock};
/// use mainstay_http::{RateLimitLayer, RateLimitRule};
///
/// let limiter = RateLimiter::in_memory(Options::default(), &Metrics::new(), Clock::system());
/// let limits = RateLimitLayer::new(limiter, RateLimitRule::per_client(Quota::per_minute(100).named("api")));
/// let routes: Router = Router::new().route("/api/users", get(async || "all of them")).route_layer(limits.clone());
/// limits.update(RateLimitRule::per_client(Quota::per_minute(200).named("api")));
/// # drop(routes);
/// ```
#[derive(Debug, Clone)]
pub struct RateLimitLayer(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    limiter: RateLimiter,
    rule: ArcSwap<RateLimitRule>,
}

impl RateLimitLayer {
    /// Holds requests to `rule`, counting with `limiter`.
    #[must_use]
    pub fn new(limiter: RateLimiter, rule: RateLimitRule) -> Self {
        Self(Arc::new(Gate { limiter, rule: ArcSwap::from_pointee(rule) }))
    }

    /// Applies another rule from the next request on.
    pub fn update(&self, rule: RateLimitRule) {
        self.0.rule.store(Arc::new(rule));
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> RateLimited<S> {
        RateLimited { gate: Arc::clone(&self.0), inner }
    }
}

/// A service behind a [`RateLimitLayer`].
#[derive(Debug, Clone)]
pub struct RateLimited<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl<S> Service<Request> for RateLimited<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that was polled ready is the one to call.
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            let rule = gate.rule.load_full();
            let key = rule.key(&request);
            match ask(&gate.limiter, &rule, &key).await {
                Ok(standing) => {
                    let mut response = inner.call(request).await?;
                    standing.tell(response.headers_mut());
                    Ok(response)
                }
                Err(problem) => Ok(problem.into_response()),
            }
        })
    }
}
