//! Answers of GET routes, kept and given again.
//!
//! | file | what it decides |
//! |---|---|
//! | `rule` | what an app says about its routes |
//! | `plan` | whether a request may be answered from the cache, and under which key |
//! | `storable` | whether an answer may be kept, and for how long |
//! | `load` | how the handler is called for a key, once |
//! | `read`, `write` | a request's way through the layer |
//! | `kept` | an answer as it is stored, and as it is given again |

mod body;
mod control;
mod digest;
mod kept;
mod load;
mod plan;
mod read;
mod rule;
mod storable;
mod validators;
mod write;

pub use rule::{ResponseCacheRule, ResponseTarget};

use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use futures_util::future::BoxFuture;
use http::Method;
use mainstay_core::cache::Cache;
use mainstay_core::time::Clock;
use tower::{Layer, Service};

/// Keeps the answers of GET routes in a [`Cache`] and answers with them, as RFC 9111 describes a shared cache.
///
/// Give it to [`Router::route_layer`](axum::Router::route_layer) or to one
/// [`MethodRouter`](axum::routing::MethodRouter::layer); a rate limit stands around it, authentication too. Clones
/// are the same layer.
///
/// # Promise
/// - Concurrent requests for an answer that is not there call the handler once, in the whole fleet if the cache is
///   shared. It runs in a task of the cache: it goes on when its client leaves.
/// - What the answer forbids is not kept: `no-store`, `no-cache`, `private`, an age used up, `Vary: *`,
///   `Set-Cookie`, a status that the rule does not name, a body above the rule's bound (which is streamed on).
///   Neither is an error of the server (5xx): it goes to those who waited for it, or a stale answer if
///   the policy allows one.
/// - Nobody gets what depends on who asks: requests with `Authorization` or `Cookie` see only answers that say
///   `public` or `s-maxage`, and only such that were made for one of them (RFC 9111 §3.5).
///   With [`per_identity`](ResponseCacheRule::per_identity) each caller has answers of their own.
/// - After a write through this layer is answered, nobody gets an answer from before it, if the rule says
///   [`invalidated_by_writes`](ResponseCacheRule::invalidated_by_writes). The same holds after
///   [`Cache::invalidate_tag`]: an answer that was being made then is not kept.
/// - A client that names the version it has (`If-None-Match`, `If-Modified-Since`) gets `304`; an answer
///   without a tag gets a weak one.
///
/// # Not promised
/// - That headers a handler reads make a difference: name them in the answer's `Vary`, or in the rule. `Host` is
///   one of them: a service answers the same under all its names unless the rule says otherwise.
/// - That `no-cache`, `no-store` and `max-age` of a request renew what is kept: the handler answers, past the cache.
/// - That what answers `stored` in `Cache-Status` is in the store: the store may have refused it or be away.
/// - That an answer which may be kept is sent as it comes: its body is read whole first, up to the rule's bound. Let a
///   route that streams, other than events, say `no-store`, or one that never ends takes as long as a handler may.
/// - Ranges, `min-fresh`, `max-stale`, revalidation with the handler: such requests and answers pass by.
///
/// # If the store is down
/// [`Degrade::Local`](mainstay_core::store::Degrade::Local): handlers answer, and concurrent requests for one answer
/// in this process still share one call. Invalidations are repeated until the store is back.
///
/// # Defaults
/// See [`ResponseCacheRule`].
///
/// # Metrics
/// Those of the [cache](mainstay_core::cache); each answer says in `Cache-Status` (RFC 9211) what became of it.
///
/// ```
/// use axum::{Router, routing::get};
/// use mainstay_core::cache::{Cache, Options, Ttl};
/// use mainstay_core::{metrics::Metrics, time::Clock};
/// use mainstay_http::{ResponseCacheLayer, ResponseCacheRule};
///
/// let cache = Cache::in_memory(Options::default(), &Metrics::new(), Clock::system());
/// let rule = ResponseCacheRule::new(Ttl::minutes(1)).tag("users").invalidated_by_writes();
/// let users = get(async || "all of them").post(async || "one more");
/// let routes: Router = Router::new().route("/api/users", users.layer(ResponseCacheLayer::new(cache, rule)));
/// # drop(routes);
/// ```
#[derive(Debug, Clone)]
pub struct ResponseCacheLayer(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    cache: Cache,
    rule: ResponseCacheRule,
    clock: Clock,
}

impl ResponseCacheLayer {
    /// Keeps answers in `cache` as `rule` says.
    #[must_use]
    pub fn new(cache: Cache, rule: ResponseCacheRule) -> Self {
        Self::with_clock(cache, rule, Clock::system())
    }

    /// Like [`new`](Self::new), with the clock whose calendar tells the `Age` of answers.
    #[must_use]
    pub fn with_clock(cache: Cache, rule: ResponseCacheRule, clock: Clock) -> Self {
        Self(Arc::new(Gate { cache, rule, clock }))
    }
}

impl<S> Layer<S> for ResponseCacheLayer {
    type Service = ResponseCached<S>;

    fn layer(&self, inner: S) -> ResponseCached<S> {
        ResponseCached { gate: Arc::clone(&self.0), inner }
    }
}

/// A service behind a [`ResponseCacheLayer`].
#[derive(Debug, Clone)]
pub struct ResponseCached<S> {
    gate: Arc<Gate>,
    inner: S,
}

/// What can stand behind the layer: a route of axum's.
trait Handler:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> Handler for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

impl<S> Service<Request> for ResponseCached<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that was polled ready is the one to call.
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        let gate = Arc::clone(&self.gate);
        match *request.method() {
            Method::GET | Method::HEAD => {
                Box::pin(async move { Ok(read::answer(gate, inner, request).await) })
            }
            ref method if !method.is_safe() && gate.rule.invalidates => {
                Box::pin(async move { Ok(write::answer(gate, inner, request).await) })
            }
            _ => Box::pin(inner.call(request)),
        }
    }
}
