//! The response cache: what it keeps (`storing`), for whom (`audience`), how it answers (`answers`), what keys tell apart
//! (`keys`), concurrent requests (`flights`), writes (`writes`) and stores that are away (`outages`).

mod answers;
mod audience;
mod flights;
mod keys;
mod outages;
mod storing;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use mainstay_core::cache::{Cache, Memory, Options, Ttl};
use mainstay_core::metrics::{Format, Metrics};
use mainstay_http::{ResponseCacheLayer, ResponseCacheRule};
use mainstay_testkit::TestClock;
use mainstay_testkit::faulty::Faults;
use mainstay_testkit::faulty::cache::FaultyStore;
use tower::ServiceExt;

const SECOND: Duration = Duration::from_secs(1);

/// A cache on a store that fails on demand.
#[derive(Clone)]
struct Fixture {
    cache: Cache,
    memory: Arc<Memory>,
    metrics: Metrics,
    faults: Faults,
    clock: TestClock,
    calls: Arc<AtomicUsize>,
}

fn fixture() -> Fixture {
    let (metrics, clock, faults, options) =
        (Metrics::new(), TestClock::new(), Faults::none(), Options::default());
    let memory = Arc::new(Memory::new(&options, clock.clock()));
    let store = Arc::new(FaultyStore::new(Arc::clone(&memory) as Arc<_>, faults.clone()));
    let cache = Cache::new(store, options, &metrics, clock.clock());
    Fixture { cache, memory, metrics, faults, clock, calls: Arc::default() }
}

/// One minute, without chance.
fn minute() -> ResponseCacheRule {
    ResponseCacheRule::new(Ttl::minutes(1).jitter(0.0).early_refresh(0.0))
}

impl Fixture {
    fn layer(&self, rule: ResponseCacheRule) -> ResponseCacheLayer {
        ResponseCacheLayer::with_clock(self.cache.clone(), rule, self.clock.clock())
    }

    /// A route `/a` (and all below `/at/`) whose handler counts its calls and answers with their number.
    fn routes(
        &self,
        rule: ResponseCacheRule,
        answer: impl Fn(&Request, Response) -> Response + Clone + Send + Sync + 'static,
    ) -> Router {
        let calls = Arc::clone(&self.calls);
        let handler = move |request: Request| {
            let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
            let response = answer(&request, Response::new(Body::from(call.to_string())));
            std::future::ready(response)
        };
        Router::new()
            .route("/a", get(handler.clone()))
            .route("/at/{*rest}", get(handler))
            .route_layer(self.layer(rule))
    }

    /// Answers say these headers.
    fn saying(&self, rule: ResponseCacheRule, headers: &'static [(&'static str, &'static str)]) -> Router {
        self.routes(rule, move |_, mut response| {
            add(response.headers_mut(), headers);
            response
        })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The value of a series in the text that is exported.
    fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.render(Format::Prometheus);
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

fn add(headers: &mut HeaderMap, more: &[(&'static str, &'static str)]) {
    for (name, value) in more {
        headers.append(*name, value.parse().unwrap());
    }
}

/// An answer that was read.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn said(&self) -> &str {
        self.header("cache-status").unwrap()
    }
}

const HIT: &str = "Mainstay; hit";
const STORED: &str = "Mainstay; fwd=miss; stored";
const MISS: &str = "Mainstay; fwd=miss";
const BYPASS: &str = "Mainstay; fwd=bypass";
const REQUEST: &str = "Mainstay; fwd=request";

async fn ask(routes: &Router, method: &str, uri: &str, headers: &[(&'static str, &'static str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    add(request.headers_mut(), headers);
    Answer::read(routes.clone().oneshot(request).await.unwrap()).await
}

async fn get_with(routes: &Router, uri: &str, headers: &[(&'static str, &'static str)]) -> Answer {
    ask(routes, "GET", uri, headers).await
}

async fn get_a(routes: &Router) -> Answer {
    get_with(routes, "/a", &[]).await
}

#[tokio::test]
async fn an_answer_is_made_once_and_given_again() {
    let it = fixture();
    let routes = it.saying(minute(), &[("x-own", "kept"), ("content-type", "text/plain")]);
    let first = get_a(&routes).await;
    assert_eq!((first.status, first.body.as_str(), first.said()), (StatusCode::OK, "1", STORED));
    let again = get_a(&routes).await;
    assert_eq!((again.status, again.body.as_str(), again.said()), (StatusCode::OK, "1", HIT));
    for name in ["x-own", "content-type", "etag", "content-length"] {
        assert!(again.header(name).is_some() && again.header(name) == first.header(name), "{name}");
    }
    assert_eq!(it.calls(), 1);
}
