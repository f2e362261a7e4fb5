use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::future::Either;
use futures_util::{FutureExt, TryFutureExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower::{Layer, Service, ServiceExt};
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::guard;
use super::rate_limit::EXPOSED;
use crate::Limits;

/// Passes the request on; through CORS and compression only if it asks for them, because most requests
/// of one service to another do not and would pay for both.
pub(super) fn call<S>(
    inner: &mut S,
    request: Request,
    limits: &Arc<Limits>,
) -> impl Future<Output = Result<Response, Infallible>> + Send + use<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let from_page = request.headers().contains_key(header::ORIGIN);
    if !from_page && !request.headers().contains_key(header::ACCEPT_ENCODING) {
        return Either::Left(guard::call(inner, request, limits));
    }
    let cors = tower::util::option_layer(from_page.then(|| cors(Arc::clone(limits))));
    let (mut inner, limits) = (inner.clone(), Arc::clone(limits));
    let guarded = tower::service_fn(move |request| guard::call(&mut inner, request, &limits));
    let service = CompressionLayer::new().layer(cors.layer(guarded));
    let answer = service.oneshot(request).map_ok(|response| response.map(Body::new));
    Either::Right(answer.boxed())
}

/// Tells caches that the answer depends on those two, also where they changed nothing this time.
pub(super) fn vary(headers: &mut HeaderMap, limits: &Limits) {
    let mut depends = |name: &'static str| {
        let known = headers
            .get_all(header::VARY)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|known| known.trim_ascii().eq_ignore_ascii_case(name.as_bytes()) || known == b"*");
        if !known {
            headers.append(header::VARY, HeaderValue::from_static(name));
        }
    };
    depends("accept-encoding");
    if !limits.cors_origins.is_empty() {
        depends("origin");
    }
}

/// Pages may call from the origins of `CORS_ORIGIN`, which are compared byte by byte. Credentials are never allowed,
/// and no cookie identifies anybody: tokens travel in `Authorization`, which a page of another origin cannot make a
/// browser send. So there is no request to forge (CSRF), and a listed origin, or `*`, gives away nothing but what
/// its page knows the token for. Preflights end here: no handler sees them, and no header of theirs is repeated.
fn cors(limits: Arc<Limits>) -> CorsLayer {
    let allowed = move |origin: &HeaderValue, _: &http::request::Parts| {
        limits.cors_origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes())
    };
    let exposed = [
        header::ETAG,
        header::LOCATION,
        header::RETRY_AFTER,
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("idempotency-replayed"),
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("traceparent"),
        ])
        .expose_headers(exposed.into_iter().chain(EXPOSED).collect::<Vec<_>>())
        .max_age(Duration::from_secs(600))
}
