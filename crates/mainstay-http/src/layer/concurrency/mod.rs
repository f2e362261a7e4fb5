//! A limit on how many requests are in flight at once, as a layer.

mod in_flight;
mod rule;

pub use rule::ConcurrencyRule;

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use mainstay_core::lock::{Error, Locks};
use mainstay_core::metrics::{Counter, Metrics, Unit};
use mainstay_core::rate_limit::Outage;
use rand::RngExt;
use tower::{Layer, Service};

use super::rate_limit::retry_seconds;
use crate::Problem;
use in_flight::{Held, InFlight, Permit};

const DECISIONS: &str = "concurrency_decisions_total";
const DEGRADED: &str = "concurrency_degraded_total";
const IN_FLIGHT: &str = "concurrency_in_flight";

/// When to come back; nobody knows when a request in flight will end.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Refuses requests above a number that may be in flight at once: `429` with `Retry-After` where each client has a
/// number of its own, `503` where all share one.
///
/// Each request holds a permit, a lease on the [`Locks`]: from before its handler until the body of the answer has
/// ended or was dropped, or the request was. The permits are those of all processes that share the locks; of one that
/// was killed they come back after the rule's ttl. Nobody waits for one.
///
/// # Not promised
/// - That a request is cut when its lease is lost because the store was away for longer than the ttl: it goes on, and
///   others may come in beside it. So they may beside one that takes longer than
///   [`max_hold`](mainstay_core::lock::Options::max_hold).
///
/// # If the store is down
/// `local`: a process lets a request in while fewer of the same key than its part of the permits, at least 1, are in
/// flight in it. `deny` answers `503`, `allow` lets all in ([`ConcurrencyRule::on_outage`]).
///
/// # Metrics
/// `concurrency_decisions_total{rule, result}` (`allowed`, `denied`), `concurrency_degraded_total{rule}` (those of them
/// without the store), `concurrency_in_flight{rule}` (in this process).
///
/// ```
/// use axum::{Router, routing::get};
/// use mainstay_core::{lock::{Locks, Options}, metrics::Metrics, time::Clock};
/// use mainstay_http::{ConcurrencyLayer, ConcurrencyRule};
///
/// let metrics = Metrics::new();
/// let locks = Locks::in_memory(Options::default(), &metrics, Clock::system());
/// let few = ConcurrencyLayer::new(locks, ConcurrencyRule::per_client("export", 2), &metrics);
/// let routes: Router = Router::new().route("/api/export", get(async || "a long one")).route_layer(few);
/// # drop(routes);
/// ```
#[derive(Debug, Clone)]
pub struct ConcurrencyLayer(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    locks: Locks,
    rule: ConcurrencyRule,
    in_flight: Arc<InFlight>,
    allowed: Counter,
    denied: Counter,
    degraded: Counter,
}

impl ConcurrencyLayer {
    /// Holds requests to `rule`, with permits of `locks`.
    #[must_use]
    pub fn new(locks: Locks, rule: ConcurrencyRule, metrics: &Metrics) -> Self {
        metrics.describe_counter(DECISIONS, Unit::None, "Requests by whether another was let into flight.");
        metrics.describe_counter(DEGRADED, Unit::None, "Those of them decided without the lock store.");
        metrics.describe_gauge(IN_FLIGHT, Unit::None, "Requests in flight in this process, by rule.");
        let result = |result| metrics.counter(DECISIONS).with(&[("rule", rule.name), ("result", result)]);
        let (allowed, denied) = (result("allowed"), result("denied"));
        let degraded = metrics.counter(DEGRADED).with(&[("rule", rule.name)]);
        let in_flight = Arc::new(InFlight::default());
        let (watched, name) = (Arc::downgrade(&in_flight), rule.name);
        metrics.collect(move |sink| {
            if let Some(in_flight) = watched.upgrade() {
                sink.gauge(IN_FLIGHT, &[("rule", name)], in_flight.total() as f64);
            }
        });
        Self(Arc::new(Gate { locks, rule, in_flight, allowed, denied, degraded }))
    }
}

impl Gate {
    /// Lets a request in, or says why not.
    async fn enter(&self, key: String) -> Result<Permit, Problem> {
        let permit = self.permit(key).await;
        if permit.is_ok() { &self.allowed } else { &self.denied }.increment(1);
        permit
    }

    async fn permit(&self, key: String) -> Result<Permit, Problem> {
        // Counted before the store is asked: should it be away, two at the same moment see each other.
        let (entered, here) = self.in_flight.enter(&key);
        let lease = match self.locks.semaphore(key, self.rule.permits).ttl(self.rule.ttl).try_acquire().await
        {
            Ok(lease) => Some(lease),
            Err(Error::Contended { .. }) => return Err(self.full()),
            Err(error @ (Error::Key(_) | Error::Option { .. })) => return Err(Problem::internal(&error)),
            Err(_) => {
                self.degraded.increment(1);
                match self.rule.outage {
                    Outage::Allow => None,
                    Outage::Local { share } if here <= self.rule.share(share) => None,
                    Outage::Local { .. } => return Err(self.full()),
                    _ => return Err(unavailable()),
                }
            }
        };
        Ok(Permit { _entered: entered, _lease: lease })
    }

    fn full(&self) -> Problem {
        if !self.rule.is_per_client() {
            return unavailable();
        }
        let problem =
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "concurrency-limited", "Too many requests at once");
        come_back(problem)
    }
}

fn unavailable() -> Problem {
    come_back(Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "The service cannot answer right now",
    ))
}

fn come_back(problem: Problem) -> Problem {
    let seconds = retry_seconds(RETRY_AFTER, rand::rng().random_range(0.0..=1.0));
    problem
        .detail(format!("Try again in {seconds} seconds."))
        .header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = ConcurrencyLimited<S>;

    fn layer(&self, inner: S) -> ConcurrencyLimited<S> {
        ConcurrencyLimited { gate: Arc::clone(&self.0), inner }
    }
}

/// A service behind a [`ConcurrencyLayer`].
#[derive(Debug, Clone)]
pub struct ConcurrencyLimited<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl<S> Service<Request> for ConcurrencyLimited<S>
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
            match gate.enter(gate.rule.key(&request)).await {
                Ok(permit) => Ok(inner.call(request).await?.map(|body| Held::around(body, permit))),
                Err(problem) => Ok(problem.into_response()),
            }
        })
    }
}
