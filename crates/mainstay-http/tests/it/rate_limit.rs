//! The rate-limit layer: who is counted, what answers say, what it leaves alone.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::StatusCode;
use mainstay_core::metrics::Metrics;
use mainstay_core::rate_limit::{Memory, Options, Outage, Quota, RateLimiter};
use mainstay_http::{Limits, Problem, RateLimitFields, RateLimitLayer, RateLimitRule, TrustedProxies};
use mainstay_testkit::TestClock;
use mainstay_testkit::faulty::rate_limit::Faulty;
use mainstay_testkit::faulty::{Fault, Faults};
use mainstay_testkit::http::{Request, Response};
use serde_json::json;
use tower::ServiceExt;

use crate::TestHost;

const API: Quota = Quota::per_minute(2).named("api");

fn limiter() -> (RateLimiter, TestClock) {
    let time = TestClock::new();
    (RateLimiter::in_memory(Options::default(), &Metrics::new(), time.clock()), time)
}

fn routes() -> Router {
    Router::new()
        .route("/a", get(async || "a"))
        .route("/b", post(async || StatusCode::CREATED))
        .route("/broken", get(async || Problem::bad_request("on purpose")))
}

async fn limited(rule: RateLimitRule) -> (TestHost, RateLimitLayer) {
    let layer = RateLimitLayer::new(limiter().0, rule);
    (TestHost::start(routes().route_layer(layer.clone())).await, layer)
}

async fn ask(server: &TestHost, path: &str) -> Response {
    Request::get(server.addr(), path).send().await
}

async fn ask_through(server: &TestHost, forwarded: &str) -> Response {
    Request::get(server.addr(), "/a").header("x-forwarded-for", forwarded).send().await
}

fn trusting_loopback() -> RateLimitRule {
    RateLimitRule::per_client(API).trusting(TrustedProxies::parse(["127.0.0.0/8"]).unwrap())
}

#[tokio::test]
async fn every_answer_says_where_the_client_stands() {
    let (server, _) = limited(RateLimitRule::per_client(API)).await;
    for (path, status, left) in [("/a", 200, 1), ("/broken", 400, 0)] {
        let answer = ask(&server, path).await;
        assert_eq!((answer.status, answer.header("ratelimit-policy")), (status, Some(r#""api";q=2;w=60"#)));
        let field = answer.header("ratelimit").unwrap();
        assert!(field.starts_with(&format!(r#""api";r={left};t="#)), "{field}");
        assert_eq!(answer.header("retry-after"), None);
    }
}

#[tokio::test]
async fn a_refusal_is_a_429_whose_wait_suffices() {
    let (limiter, time) = limiter();
    let layer = RateLimitLayer::new(limiter, RateLimitRule::per_client(API));
    let server = TestHost::start(routes().route_layer(layer)).await;
    assert_eq!(ask(&server, "/a").await.status, 200);
    time.suspend(Duration::from_secs(40));
    assert_eq!(ask(&server, "/a").await.status, 200);
    let refused = ask(&server, "/a").await;
    assert_eq!((refused.status, refused.header("content-type")), (429, Some("application/problem+json")));
    let body = refused.json();
    assert_eq!(body["type"], "urn:mainstay:problem:rate-limited");
    assert_eq!(body["requestId"], refused.header("x-request-id").unwrap());
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    // The first leaves a window of ten buckets after 60 to 66 s; a tenth of jitter; whole seconds.
    assert!((20..=29).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit"), Some(format!(r#""api";r=0;t={wait}"#).as_str()));
    assert_eq!(refused.header("ratelimit-policy"), Some(r#""api";q=2;w=60"#));
    time.suspend(Duration::from_secs(wait));
    assert_eq!(ask(&server, "/a").await.status, 200);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_a_quota_of_its_own() {
    let (server, _) = limited(trusting_loopback()).await;
    for client in ["203.0.113.1", "203.0.113.2", "2001:db8:1:1::1"] {
        for status in [200, 200, 429] {
            assert_eq!(ask_through(&server, client).await.status, status, "{client}");
        }
    }
    for same in [
        "6.6.6.6, 203.0.113.1",
        "::ffff:203.0.113.1",
        "203.0.113.2:9",
        "2001:db8:1:1:ffff::9",
        "unknown, 203.0.113.2",
    ] {
        assert_eq!(ask_through(&server, same).await.status, 429, "{same}");
    }
    assert_eq!(ask_through(&server, "2001:db8:1:2::1").await.status, 200);
}

#[tokio::test]
async fn whoever_is_not_a_trusted_proxy_speaks_for_itself_only() {
    let (server, _) = limited(RateLimitRule::per_client(API)).await;
    for (forged, status) in [("203.0.113.1", 200), ("203.0.113.2", 200), ("203.0.113.3", 429)] {
        assert_eq!(ask_through(&server, forged).await.status, status);
    }
}

#[tokio::test]
async fn a_rule_changed_while_running_counts_for_the_next_request() {
    let (server, layer) = limited(RateLimitRule::per_client(API)).await;
    for status in [200, 200, 429] {
        assert_eq!(ask_through(&server, "203.0.113.1").await.status, status);
    }
    layer.update(RateLimitRule::per_client(Quota::per_minute(50).named("api")));
    let more = ask_through(&server, "203.0.113.1").await;
    assert_eq!((more.status, more.header("ratelimit-policy")), (200, Some(r#""api";q=50;w=60"#)));
    layer.update(trusting_loopback());
    assert_eq!(ask_through(&server, "203.0.113.1").await.status, 200, "a client of its own now");
    layer.update(RateLimitRule::per_client(API));
    assert_eq!(ask_through(&server, "203.0.113.1").await.status, 429);
}

#[tokio::test]
async fn of_several_policies_all_are_named_and_the_tightest_is_told() {
    let rule = RateLimitRule::per_client(Quota::per_hour(3).named("hour")).and(API);
    let (server, _) = limited(rule).await;
    let first = ask(&server, "/a").await;
    assert_eq!(first.header("ratelimit-policy"), Some(r#""hour";q=3;w=3600, "api";q=2;w=60"#));
    assert!(first.header("ratelimit").unwrap().starts_with(r#""api";r=1;t="#));
    assert_eq!(ask(&server, "/a").await.status, 200);
    let refused = ask(&server, "/a").await;
    assert_eq!(refused.status, 429);
    assert!(refused.header("ratelimit").unwrap().starts_with(r#""api";r=0;t="#));
}

#[tokio::test]
async fn a_refused_request_counts_against_no_policy() {
    let (limiter, time) = limiter();
    let rule = RateLimitRule::per_client(Quota::per_hour(3).named("hour")).and(API);
    let layer = RateLimitLayer::new(limiter, rule);
    let server = TestHost::start(routes().route_layer(layer)).await;
    for status in [200, 200, 429, 429, 429] {
        assert_eq!(ask(&server, "/a").await.status, status);
    }
    time.suspend(Duration::from_secs(70));
    let third = ask(&server, "/a").await;
    assert_eq!(third.status, 200, "the third of the hour");
    assert!(third.header("ratelimit").unwrap().starts_with(r#""hour";r=0;"#));
}

#[tokio::test]
async fn what_no_route_answers_and_preflights_count_for_nothing() {
    let layer = RateLimitLayer::new(limiter().0, RateLimitRule::per_client(API));
    let mut limits = Limits::default();
    limits.cors_origins = vec!["https://app.example".to_owned()];
    let server = TestHost::with_limits(routes().route_layer(layer), limits).await;
    for _ in 0..5 {
        assert_eq!(ask(&server, "/missing").await.status, 404);
        let preflight = Request::new("OPTIONS", server.addr(), "/a")
            .header("origin", "https://app.example")
            .header("access-control-request-method", "GET")
            .send()
            .await;
        assert_eq!(preflight.status, 200);
        assert_eq!(preflight.header("ratelimit"), None);
    }
    let wrong = Request::post(server.addr(), "/a").send().await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET,HEAD")));
    let page = Request::get(server.addr(), "/a").header("origin", "https://app.example").send().await;
    assert!(page.header("ratelimit").unwrap().starts_with(r#""api";r=1;"#), "{page:?}");
    let exposed = page.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("ratelimit,") && exposed.contains("ratelimit-policy"), "{exposed}");
}

#[tokio::test]
async fn while_the_store_is_away_a_quota_that_denies_answers_503() {
    let faults = Faults::none();
    let time = TestClock::new();
    let store = Faulty::new(Arc::new(Memory::new(1000, time.clock())), faults.clone());
    let limiter = RateLimiter::new(Arc::new(store), Options::default(), &Metrics::new(), time.clock());
    let layer = RateLimitLayer::new(limiter, RateLimitRule::per_client(API.on_outage(Outage::Deny)));
    let server = TestHost::start(routes().route_layer(layer.clone())).await;
    faults.always(Fault::Unavailable);
    let denied = ask(&server, "/a").await;
    assert_eq!(
        (denied.status, denied.json()["type"].clone()),
        (503, json!("urn:mainstay:problem:unavailable"))
    );
    assert!(denied.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    layer.update(RateLimitRule::per_client(API.on_outage(Outage::Allow)));
    for _ in 0..5 {
        assert_eq!(ask(&server, "/a").await.status, 200);
    }
    faults.mend();
    assert_eq!(ask(&server, "/a").await.status, 200);
}

#[tokio::test]
async fn a_caller_with_a_name_is_counted_by_it_from_wherever_it_calls() {
    let by_user =
        |request: &axum::extract::Request| Some(request.headers().get("x-user")?.to_str().ok()?.to_owned());
    let (server, _) = limited(trusting_loopback().keyed_by(by_user)).await;
    let ask = |user: String, from: &'static str| {
        Request::get(server.addr(), "/a").header("x-user", user).header("x-forwarded-for", from).send()
    };
    for (from, status) in [("203.0.113.1", 200), ("203.0.113.2", 200), ("203.0.113.3", 429)] {
        assert_eq!(ask("ada".to_owned(), from).await.status, status);
    }
    assert_eq!(ask("bob".to_owned(), "203.0.113.3").await.status, 200);
    assert_eq!(ask("203.0.113.9".to_owned(), "203.0.113.3").await.status, 200);
    assert!(ask_through(&server, "203.0.113.9").await.header("ratelimit").unwrap().contains("r=1"));
    // A name too long to be a key does not give a quota of its own.
    for (name, status) in [("x", 200), ("y", 200), ("z", 429)] {
        assert_eq!(ask(name.repeat(3000), "203.0.113.4").await.status, status);
    }
}

#[tokio::test]
async fn the_older_fields_are_three_plain_numbers() {
    let (server, _) = limited(RateLimitRule::per_client(API).fields(RateLimitFields::Draft06)).await;
    for left in ["1", "0", "0"] {
        let answer = ask(&server, "/a").await;
        assert_eq!(answer.header("ratelimit-limit"), Some("2"));
        assert_eq!(answer.header("ratelimit-remaining"), Some(left));
        let reset: u64 = answer.header("ratelimit-reset").unwrap().parse().unwrap();
        assert!((1..=73).contains(&reset), "{reset}");
        assert_eq!((answer.header("ratelimit"), answer.header("ratelimit-policy")), (None, None));
        if answer.status == 429 {
            assert_eq!(answer.header("retry-after"), answer.header("ratelimit-reset"));
        }
    }
}

#[tokio::test]
async fn layers_around_each_other_each_tell_their_own() {
    let (limiter, _) = limiter();
    let outer =
        RateLimitLayer::new(limiter.clone(), RateLimitRule::per_client(Quota::per_hour(9).named("all")));
    let inner = RateLimitLayer::new(limiter, RateLimitRule::per_client(API));
    let server = TestHost::start(routes().route_layer(inner).route_layer(outer)).await;
    let answer = ask(&server, "/a").await;
    let policies = answer.headers.iter().filter(|(name, _)| name == "ratelimit-policy");
    assert_eq!(
        policies.map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
        [r#""api";q=2;w=60"#, r#""all";q=9;w=3600"#]
    );
}

#[tokio::test]
async fn requests_over_no_connection_share_one_quota() {
    let layer = RateLimitLayer::new(limiter().0, trusting_loopback());
    let router = routes().route_layer(layer);
    for (forged, status) in [("203.0.113.1", 200), ("203.0.113.2", 200), ("203.0.113.3", 429)] {
        let request = http::Request::get("/a").header("x-forwarded-for", forged).body(Body::empty()).unwrap();
        assert_eq!(router.clone().oneshot(request).await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn a_quota_that_makes_no_sense_is_a_fault_of_the_service() {
    for wrong in [Quota::per_minute(0), Quota::new(1, Duration::ZERO), API.named("A B")] {
        let (server, _) = limited(RateLimitRule::per_client(wrong)).await;
        let answer = ask(&server, "/a").await;
        assert_eq!(
            (answer.status, answer.json()["type"].clone()),
            (500, json!("urn:mainstay:problem:internal"))
        );
    }
}
