use axum::routing::get;
use mainstay_testkit::http::Request as Client;

use super::*;
use crate::TestHost;

#[tokio::test]
async fn a_client_that_names_the_version_it_has_gets_a_304() {
    let cases = [
        (r#""v1""#, r#""v1""#, true),
        (r#""v1""#, r#"W/"v1""#, true),
        (r#"W/"v1""#, r#""v1""#, true),
        (r#""v1""#, r#""v0", W/"v1""#, true),
        (r#""a,b""#, r#""x", "a,b""#, true),
        (r#""a\""#, r#""a\", "b""#, true),
        (r#""v1""#, "*", true),
        (r#""v1""#, r#""v2""#, false),
        (r#""b""#, r#""a,"b",c""#, false),
        (r#""v1""#, "v1", false),
        (r#""v1""#, "", false),
    ];
    for (tag, asked, known) in cases {
        let it = fixture();
        let routes = it
            .saying(minute(), Box::leak(Box::new([("etag", tag), ("x-own", "1"), ("content-type", "a/b")])));
        // By the handler's answer, and by the one that is kept.
        for said in [STORED, HIT] {
            let answer = get_with(&routes, "/a", &[("if-none-match", asked)]).await;
            let expected = if known { (304, "") } else { (200, "1") };
            assert_eq!((answer.status.as_u16(), answer.body.as_str()), expected, "{tag} {asked}");
            assert_eq!((answer.header("etag"), answer.header("x-own")), (Some(tag), Some("1")));
            assert_eq!(answer.header("content-type").is_some(), !known);
            assert_eq!(answer.said(), said);
        }
    }
}

#[tokio::test]
async fn a_date_counts_only_without_a_tag_and_only_as_it_was_said() {
    let it = fixture();
    let date = "Thu, 01 Jan 2026 00:00:00 GMT";
    let routes = it.saying(minute(), &[("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")]);
    assert_eq!(get_with(&routes, "/a", &[("if-modified-since", date)]).await.status, 304);
    let later = "Thu, 01 Jan 2026 00:00:01 GMT";
    assert_eq!(get_with(&routes, "/a", &[("if-modified-since", later)]).await.status, 200);
    let both = [("if-modified-since", date), ("if-none-match", "\"other\"")];
    assert_eq!(get_with(&routes, "/a", &both).await.status, 200);
}

#[tokio::test]
async fn an_answer_without_a_tag_gets_a_weak_one_of_its_content() {
    let it = fixture();
    let routes = Router::new().route("/a", get(async || "same").layer(it.layer(minute())));
    let other = Router::new().route("/a", get(async || "different").layer(fixture().layer(minute())));
    let (tag, other) = (get_a(&routes).await, get_a(&other).await);
    let tag = tag.header("etag").unwrap();
    assert!(tag.starts_with("W/\"") && Some(tag) != other.header("etag"), "{tag}");
    it.cache.delete("http:/a?").await.unwrap();
    let request = Request::get("/a").header("if-none-match", tag).body(Body::empty()).unwrap();
    assert_eq!(routes.oneshot(request).await.unwrap().status(), 304, "made anew, it is the same version");
}

#[tokio::test]
async fn an_answer_that_is_not_kept_answers_conditions_too_and_its_handler_may() {
    let it = fixture();
    let routes = it.saying(minute(), &[("cache-control", "no-store"), ("etag", "\"v1\"")]);
    let known = [("if-none-match", "\"v1\"")];
    assert_eq!(get_with(&routes, "/a", &known).await.status, 304);
    // From now on the handler is asked directly, with all that the client said.
    let seen = it.routes(minute(), |request, mut response| {
        let condition = request.headers().get("if-none-match").cloned();
        if let Some(condition) = condition {
            response.headers_mut().insert("x-seen", condition);
        }
        add(response.headers_mut(), &[("cache-control", "no-store")]);
        response
    });
    assert_eq!(get_with(&seen, "/a", &known).await.header("x-seen"), Some("\"v1\""));
}

#[tokio::test]
async fn a_condition_of_one_client_is_not_seen_in_what_is_kept_for_all() {
    let it = fixture();
    let routes = it.routes(minute(), |request, mut response| {
        add(response.headers_mut(), &[("etag", "\"v1\"")]);
        if request.headers().contains_key("if-none-match") {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    });
    assert_eq!(get_with(&routes, "/a", &[("if-none-match", "\"v1\"")]).await.status, 304);
    let other = get_a(&routes).await;
    assert_eq!((other.status.as_u16(), other.body.as_str(), other.said()), (200, "1", HIT));
}

#[tokio::test]
async fn an_answer_tells_its_age_by_a_calendar_that_may_be_set_back() {
    let it = fixture();
    let routes = it.saying(minute(), &[("age", "7")]);
    assert_eq!(get_a(&routes).await.header("age"), None);
    it.clock.suspend(5 * SECOND);
    assert_eq!(get_a(&routes).await.header("age"), Some("12"));
    it.clock.step_wall(jiff::SignedDuration::from_secs(-3600));
    assert_eq!(get_a(&routes).await.header("age"), Some("0"));
}

#[tokio::test]
async fn head_is_answered_from_what_get_has_made_and_makes_nothing() {
    let it = fixture();
    let server = TestHost::start(it.saying(minute(), &[("x-own", "1")])).await;
    let ask = async |method: &str| Client::new(method, server.addr(), "/a").send().await;
    for _ in 0..2 {
        assert_eq!(ask("HEAD").await.header("cache-status"), Some(MISS));
    }
    let made = ask("GET").await;
    let head = ask("HEAD").await;
    assert_eq!((head.status, head.header("cache-status"), head.body.len()), (200, Some(HIT), 0));
    for name in ["content-length", "etag", "x-own"] {
        assert!(head.header(name).is_some() && head.header(name) == made.header(name), "{name}");
    }
    assert_eq!(it.calls(), 3);
}

#[tokio::test]
async fn what_a_request_says_about_caches_is_heard() {
    let it = fixture();
    let routes = it.saying(minute(), &[]);
    let only = [("cache-control", "only-if-cached")];
    let refused = get_with(&routes, "/a", &only).await;
    assert_eq!(
        (refused.status, refused.header("content-type")),
        (StatusCode::GATEWAY_TIMEOUT, Some("application/problem+json"))
    );
    assert_eq!(get_with(&routes, "/a", &[("cache-control", "only-if-cached, no-cache")]).await.status, 504);
    assert_eq!(it.calls(), 0);

    get_a(&routes).await;
    assert_eq!(get_with(&routes, "/a", &only).await.body, "1");
    it.clock.suspend(10 * SECOND);
    let cases = [
        ("no-cache", false),
        ("no-store", false),
        ("max-age=0", false),
        ("max-age=9", false),
        ("max-age=10", true),
        ("max-stale", true),
    ];
    for (says, hit) in cases {
        let answer = get_with(&routes, "/a", &[("cache-control", says)]).await;
        assert_eq!((answer.body == "1", answer.said() == HIT), (hit, hit), "{says}");
    }
    assert_eq!(get_with(&routes, "/a", &[("cache-control", "no-cache")]).await.said(), REQUEST);
    assert_eq!(get_a(&routes).await.body, "1", "nothing of that changed what is kept");
}

#[tokio::test]
async fn what_asks_for_something_else_than_the_whole_answer_passes_by() {
    let it = fixture();
    let routes = it.saying(minute(), &[]);
    get_a(&routes).await;
    for header in [("range", "bytes=0-1"), ("if-match", "\"v1\""), ("upgrade", "websocket")] {
        assert_eq!(get_with(&routes, "/a", &[header]).await.said(), BYPASS, "{header:?}");
    }
    let with_body = Request::get("/a").body(Body::from("query")).unwrap();
    assert_eq!(routes.oneshot(with_body).await.unwrap().headers()["cache-status"], BYPASS);
}

#[tokio::test]
async fn a_stale_answer_stands_in_for_a_failing_handler_if_rule_and_answer_allow_it() {
    let cases: [(&[(&str, &str)], u16); 5] = [
        (&[], 200),
        (&[("cache-control", "max-age=60, stale-if-error=30")], 200),
        (&[("cache-control", "max-age=60, stale-if-error=5")], 500),
        (&[("cache-control", "max-age=60, must-revalidate")], 500),
        (&[("cache-control", "s-maxage=60")], 500),
    ];
    for (headers, status) in cases {
        let it = fixture();
        let rule = ResponseCacheRule::new(Ttl::minutes(1).jitter(0.0).stale_for(Ttl::minutes(5)));
        let routes = it.routes(rule, move |request, mut response| {
            if request.headers().contains_key("x-fail") {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            add(response.headers_mut(), headers);
            response
        });
        get_a(&routes).await;
        it.clock.suspend(70 * SECOND);
        assert_eq!(get_with(&routes, "/a", &[("x-fail", "1")]).await.status, status, "{headers:?}");
    }
}

#[tokio::test]
async fn what_the_cache_says_comes_after_what_caches_behind_it_said() {
    let it = fixture();
    let routes = it.saying(minute(), &[("cache-status", "Origin; fwd=miss")]);
    let answer = get_a(&routes).await;
    let said: Vec<_> = answer.headers.get_all("cache-status").iter().collect();
    assert_eq!(said, ["Origin; fwd=miss", STORED]);
}
