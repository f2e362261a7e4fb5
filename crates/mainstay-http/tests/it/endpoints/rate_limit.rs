//! `/distributed/rate-limit/test`

use mainstay_testkit::TestClock;

use super::*;

const PATH: &str = "/distributed/rate-limit/test";

#[tokio::test]
async fn ten_a_minute_pass_and_the_next_is_told_when_to_come_back() {
    let time = TestClock::new();
    let limiter = RateLimiter::in_memory(Default::default(), &Metrics::new(), time.clock());
    let endpoints = endpoints_with(true, |state| state.rate_limiter = limiter).await;
    for left in (0..10).rev() {
        let passed = endpoints.get(PATH).await;
        assert_eq!((passed.status, passed.json()), (200, json!({"allowed": true, "remaining": left})));
        assert_eq!(passed.header("ratelimit-policy"), Some(r#""test";q=10;w=60"#));
        let field = passed.header("ratelimit").unwrap();
        assert!(field.starts_with(&format!(r#""test";r={left};t="#)), "{field}");
    }
    let refused = endpoints.get(PATH).await;
    assert_problem(&refused, 429, "rate-limited", None);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(refused.header("ratelimit"), Some(format!(r#""test";r=0;t={wait}"#).as_str()));
    assert_eq!(refused.header("ratelimit-policy"), Some(r#""test";q=10;w=60"#));
    time.suspend(Duration::from_secs(wait));
    assert_eq!(endpoints.get(PATH).await.status, 200, "waiting that long suffices");
}

#[tokio::test]
async fn a_forged_header_makes_no_other_client() {
    let endpoints = endpoints(true).await;
    for _ in 0..10 {
        assert_eq!(endpoints.get(PATH).await.status, 200);
    }
    let forged =
        Request::get(endpoints.server.addr(), PATH).header("x-forwarded-for", "203.0.113.9").send().await;
    // What comes through a proxy needs a token; the quota is not even asked.
    assert_eq!(forged.status, 401);
    assert_eq!(endpoints.get(PATH).await.status, 429);
}

#[tokio::test]
async fn other_methods_are_405_and_count_for_nothing() {
    let endpoints = endpoints(true).await;
    for method in ["POST", "PUT", "DELETE"] {
        assert_problem(&endpoints.send(method, PATH, None).await, 405, "method-not-allowed", None);
    }
    assert_eq!(endpoints.get(PATH).await.json()["remaining"], 9);
}
