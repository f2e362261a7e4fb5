//! What stands around every route: ids, problems, limits, metrics, headers, CORS, compression.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use futures_util::FutureExt;
use http::{HeaderValue, header};
use mainstay_core::telemetry::trace_context::Sampling;
use mainstay_http::{Json, Limits, Problem, RequestContext};
use mainstay_testkit::eventually_async;
use mainstay_testkit::http::{Request, raw};
use serde_json::json;

use crate::TestHost;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_request_id_is_echoed_when_well_formed_and_replaced_when_not() {
    let routes =
        Router::new().route("/id", get(async |context: RequestContext| context.request_id.to_string()));
    let server = TestHost::start(routes).await;
    let kept = Request::get(server.addr(), "/id").header("x-request-id", "abc-1.2_3").send().await;
    assert_eq!((kept.header("x-request-id"), kept.text().as_str()), (Some("abc-1.2_3"), "abc-1.2_3"));
    for bad in ["a b", "<script>", &"x".repeat(129)] {
        let made = Request::get(server.addr(), "/id").header("x-request-id", bad).send().await;
        let id = made.header("x-request-id").unwrap();
        assert!(id != bad && !id.is_empty() && made.text() == id, "{bad:?} became {id:?}");
    }
}

#[tokio::test]
async fn a_trace_is_continued_with_a_span_of_its_own_or_begun() {
    let routes =
        Router::new().route("/trace", get(async |context: RequestContext| context.trace.to_header()));
    let server = TestHost::start(routes).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let continued = Request::get(server.addr(), "/trace").header("traceparent", parent).send().await.text();
    assert!(continued.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{continued}");
    assert!(!continued.contains("00f067aa0ba902b7"), "{continued}");
    let begun = Request::get(server.addr(), "/trace").header("traceparent", "nonsense").send().await.text();
    assert_eq!(begun.len(), parent.len());
    assert!(begun.ends_with("-00"), "{begun}");
}

#[tokio::test]
async fn sampling_marks_traces_that_begin_here_and_leaves_the_callers_decision_alone() {
    let trace = get(async |context: RequestContext| context.trace.to_header());
    let routes = Router::new().route("/trace", trace.clone()).route("/up", trace);
    let mut limits = Limits::default();
    limits.sampling = Sampling::share(1.0);
    let server = TestHost::with_limits(routes, limits).await;
    server.host.watched_at(["/up".to_owned()]);
    let begun = Request::get(server.addr(), "/trace").send().await.text();
    assert!(begun.ends_with("-01"), "{begun}");
    let probe = Request::get(server.addr(), "/up").send().await.text();
    assert!(probe.ends_with("-00"), "{probe}");
    let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let continued =
        Request::get(server.addr(), "/trace").header("traceparent", unsampled).send().await.text();
    assert!(continued.ends_with("-00"), "{continued}");
}

#[tokio::test]
async fn a_handler_that_panics_is_a_500_with_the_request_id_and_the_server_goes_on() {
    async fn panics() {
        panic!("secret detail of the inside");
    }
    let routes = Router::new().route("/panic", get(panics)).route("/ok", get(async || "ok"));
    let server = TestHost::start(routes).await;
    let response = Request::get(server.addr(), "/panic").header("x-request-id", "p-1").send().await;
    assert_eq!(response.status, 500);
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let body = response.json();
    assert_eq!(
        (body["type"].as_str(), body["requestId"].as_str()),
        (Some("urn:mainstay:problem:internal"), Some("p-1"))
    );
    assert!(!response.text().contains("secret detail"));
    assert_eq!(Request::get(server.addr(), "/ok").send().await.status, 200);
    assert!(
        server
            .metrics
            .render(Default::default())
            .contains(r#"http_requests_total{method="GET",route="/panic",status="500"} 1"#)
    );
}

#[tokio::test]
async fn a_handler_that_hangs_is_a_503_after_the_request_timeout() {
    let mut limits = Limits::default();
    limits.request_timeout = Duration::from_millis(50);
    let routes = Router::new().route("/hang", get(async || std::future::pending::<()>().await));
    let server = TestHost::with_limits(routes, limits).await;
    let response = Request::get(server.addr(), "/hang").send().await;
    assert_eq!(
        (response.status, response.json()["type"].clone()),
        (503, json!("urn:mainstay:problem:timeout"))
    );
}

#[tokio::test]
async fn a_request_whose_client_leaves_is_counted_and_no_longer_in_flight() {
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let handler = async move || {
        arrived.send(()).unwrap();
        std::future::pending::<()>().await;
    };
    let server = TestHost::start(Router::new().route("/wait", get(handler))).await;
    let client = tokio::spawn(Request::get(server.addr(), "/wait").send());
    arrivals.recv().await.unwrap();
    client.abort();
    eventually_async("the request is counted as gone", PATIENCE, async || {
        let text = server.metrics.render(Default::default());
        text.contains(r#"route="/wait",status="gone"} 1"#) && text.contains("http_requests_in_flight 0")
    })
    .await;
}

#[tokio::test]
async fn paths_do_not_make_series() {
    let server = TestHost::start(Router::new().route("/users/{id}", get(async || "user"))).await;
    for id in 0..50 {
        Request::get(server.addr(), format!("/users/{id}")).send().await;
        Request::get(server.addr(), format!("/nowhere/{id}")).send().await;
    }
    let text = server.metrics.render(Default::default());
    let counted: Vec<_> = text.lines().filter(|line| line.starts_with("http_requests_total{")).collect();
    assert_eq!(
        counted,
        [
            r#"http_requests_total{method="GET",route="/users/{id}",status="200"} 50"#,
            r#"http_requests_total{method="GET",route="unmatched",status="404"} 50"#,
        ]
    );
}

#[tokio::test]
async fn an_unknown_path_or_method_is_a_problem() {
    let server = TestHost::start(Router::new().route("/a", get(async || "a"))).await;
    let missing = Request::get(server.addr(), "/..%2f..%2fetc/passwd").send().await;
    assert_eq!(
        (missing.status, missing.json()["type"].clone()),
        (404, json!("urn:mainstay:problem:not-found"))
    );
    let wrong = Request::post(server.addr(), "/a").send().await;
    assert_eq!(
        (wrong.status, wrong.json()["type"].clone()),
        (405, json!("urn:mainstay:problem:method-not-allowed"))
    );
    assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_announced_or_not_and_whoever_reads_it() {
    let mut limits = Limits::default();
    limits.body_limit = 1000;
    let routes = Router::new()
        .route("/json", post(async |Json(_): Json<serde_json::Value>| "read"))
        .route("/raw", post(async |body: bytes::Bytes| body.len().to_string()));
    let server = TestHost::with_limits(routes, limits).await;
    let big = format!("\"{}\"", "x".repeat(2000));
    let announced = Request::post(server.addr(), "/json")
        .header("content-type", "application/json")
        .body(big.clone())
        .send()
        .await;
    assert_eq!(announced.status, 413);
    assert_eq!(announced.json()["detail"], "A body may have 1000 bytes.");
    for path in ["/json", "/raw"] {
        let chunked = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n{:x}\r\n{big}\r\n0\r\n\r\n",
            big.len()
        );
        let answer = raw(server.addr(), chunked.as_bytes()).await;
        assert!(answer.starts_with(b"HTTP/1.1 413 "), "{path}: {}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn limits_changed_while_running_count_for_the_next_request() {
    let server = TestHost::start(Router::new().route("/raw", post(async |_: bytes::Bytes| "read"))).await;
    let send = || Request::post(server.addr(), "/raw").body("x".repeat(100)).send();
    assert_eq!(send().await.status, 200);
    let mut limits = Limits::default();
    limits.body_limit = 10;
    server.host.update(limits);
    assert_eq!(send().await.status, 413);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let server = TestHost::start(Router::new().route("/a", get(async || "a"))).await;
    for path in ["/a", "/missing"] {
        let response = Request::get(server.addr(), path).send().await;
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(response.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(response.header("referrer-policy"), Some("no-referrer"), "{path}");
        let policy = response.header("content-security-policy").unwrap();
        for rule in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]
        {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
    }
}

#[tokio::test]
async fn a_panic_and_a_timeout_can_be_read_by_browsers_like_any_other_answer() {
    async fn panics() {
        panic!("on purpose");
    }
    let routes = Router::new().route("/panics", get(panics)).route("/hangs", get(std::future::pending::<()>));
    let mut limits = Limits::default();
    limits.request_timeout = Duration::from_millis(50);
    limits.cors_origins = vec!["https://app.example".to_owned()];
    let server = TestHost::with_limits(routes, limits).await;
    for (path, status) in [("/panics", 500), ("/hangs", 503)] {
        let response = Request::get(server.addr(), path).header("origin", "https://app.example").send().await;
        assert_eq!(response.status, status);
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"), "{path}");
    }
}

#[tokio::test]
async fn an_error_without_a_body_or_in_plain_text_becomes_a_problem() {
    async fn number(axum::extract::Path(id): axum::extract::Path<u8>) -> String {
        id.to_string()
    }
    let routes = Router::new()
        .route("/bare", get(async || http::StatusCode::IM_A_TEAPOT))
        .route("/text", get(async || (http::StatusCode::BAD_GATEWAY, "password=hunter2")))
        .route("/number/{id}", get(number))
        .nest("/nested", Router::new().route("/gone", get(async || http::StatusCode::NOT_FOUND)))
        .route("/own", get(async || (http::StatusCode::CONFLICT, axum::Json(json!({"mine": 1})))));
    let server = TestHost::start(routes).await;
    let refused = "urn:mainstay:problem:refused";
    for (path, status, kind) in [
        ("/bare", 418, refused),
        ("/text", 502, "urn:mainstay:problem:internal"),
        ("/number/x", 400, refused),
        ("/nested/gone", 404, "urn:mainstay:problem:not-found"),
    ] {
        let response = Request::get(server.addr(), path).send().await;
        assert_eq!(response.status, status);
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{path}");
        let body = response.json();
        assert_eq!((&body["type"], &body["status"]), (&json!(kind), &json!(status)), "{path}");
        assert_eq!(body["requestId"], response.header("x-request-id").unwrap());
        assert!(!response.text().contains("hunter2"));
    }
    assert_eq!(Request::get(server.addr(), "/own").send().await.json(), json!({"mine": 1}));
}

#[tokio::test]
async fn browsers_of_configured_origins_may_call_and_others_may_not() {
    let mut limits = Limits::default();
    limits.cors_origins = vec!["https://app.example".to_owned()];
    let server = TestHost::with_limits(Router::new().route("/a", get(async || "a")), limits).await;
    let ask = |origin: &'static str| Request::get(server.addr(), "/a").header("origin", origin).send();
    let allowed = ask("https://app.example").await;
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(ask("https://evil.example").await.header("access-control-allow-origin"), None);
    let preflight = Request::new("OPTIONS", server.addr(), "/a")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "PATCH")
        .send()
        .await;
    assert_eq!(preflight.status, 200);
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("PATCH"));
}

#[tokio::test]
async fn only_an_origin_that_is_the_same_to_the_last_byte_may_read_an_answer() {
    let mut limits = Limits::default();
    limits.cors_origins = vec!["https://app.example".to_owned(), "http://localhost:5173".to_owned()];
    let server = TestHost::with_limits(Router::new().route("/a", get(async || "a")), limits).await;
    for stranger in [
        "https://app.example.evil.example",
        "https://evil.example/https://app.example",
        "https://APP.example",
        "https://app.example:443",
        "https://app.example:8443",
        "http://app.example",
        "https://app.exampl",
        "https://sub.app.example",
        "https://app.example,http://localhost:5173",
        "*",
        "null",
        "",
    ] {
        let answer = Request::get(server.addr(), "/a").header("origin", stranger).send().await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (200, None),
            "{stranger:?}"
        );
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{stranger:?}");
    }
    for asked in [Some("https://app.example"), Some("https://evil.example"), None] {
        let request = Request::get(server.addr(), "/a");
        let request = if let Some(origin) = asked { request.header("origin", origin) } else { request };
        let answer = request.send().await;
        let vary = answer.headers.iter().filter(|(name, _)| name == "vary").map(|(_, value)| value.as_str());
        let vary: Vec<_> = vary.flat_map(|value| value.split(',')).map(str::trim).collect();
        assert!(vary.contains(&"origin"), "a cache keeps them apart, {asked:?}: {vary:?}");
    }
}

#[tokio::test]
async fn any_origin_never_comes_with_credentials() {
    let mut limits = Limits::default();
    limits.cors_origins = vec!["*".to_owned()];
    let server = TestHost::with_limits(Router::new().route("/a", get(async || "a")), limits).await;
    for method in ["GET", "OPTIONS"] {
        let answer = Request::new(method, server.addr(), "/a")
            .header("origin", "https://anywhere.example")
            .header("access-control-request-method", "GET")
            .send()
            .await;
        assert!(answer.header("access-control-allow-origin").is_some());
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn a_preflight_is_answered_from_a_fixed_list_and_reaches_no_handler() {
    let mut limits = Limits::default();
    limits.cors_origins = vec!["https://app.example".to_owned()];
    let reached = || async { panic!("a preflight reached the handler") };
    let routes = Router::new().route("/a", axum::routing::any(move || reached().map(|()| "a")));
    let server = TestHost::with_limits(routes, limits).await;
    let asked = format!("authorization,x-evil,{}", "x".repeat(8_000));
    for origin in ["https://app.example", "https://evil.example"] {
        let answer = Request::new("OPTIONS", server.addr(), "/a")
            .header("origin", origin)
            .header("access-control-request-method", "TRACE")
            .header("access-control-request-headers", &asked)
            .send()
            .await;
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed.is_some(), origin == "https://app.example");
        let headers = answer.header("access-control-allow-headers").unwrap();
        assert!(headers.contains("authorization") && !headers.contains("x-evil"), "{headers}");
        assert!(!answer.header("access-control-allow-methods").unwrap().contains("TRACE"));
        assert!(answer.header("access-control-max-age").unwrap().parse::<u32>().unwrap() <= 600);
    }
}

#[tokio::test]
async fn no_cache_keeps_an_error_unless_its_handler_says_so() {
    let own = async || (http::StatusCode::GONE, [("cache-control", "max-age=60")], axum::Json(json!({})));
    let routes = Router::new()
        .route("/ok", get(async || "ok"))
        .route("/forbidden", get(async || http::StatusCode::FORBIDDEN))
        .route("/busy", get(async || Problem::unavailable(1)))
        .route("/silent", get(async || (http::StatusCode::CONFLICT, axum::Json(json!({})))))
        .route("/own", get(own));
    let server = TestHost::start(routes).await;
    for (path, kept) in [
        ("/ok", None),
        ("/forbidden", Some("no-store")),
        ("/busy", Some("no-store")),
        ("/missing", Some("no-store")),
        ("/silent", Some("no-store")),
        ("/own", Some("max-age=60")),
    ] {
        let answer = Request::get(server.addr(), path).send().await;
        assert_eq!(answer.header("cache-control"), kept, "{path}");
    }
}

#[tokio::test]
async fn long_answers_are_compressed_for_clients_that_ask() {
    let server = TestHost::start(Router::new().route("/long", get(async || "mainstay ".repeat(500)))).await;
    let plain = Request::get(server.addr(), "/long").send().await;
    let packed = Request::get(server.addr(), "/long").header("accept-encoding", "gzip").send().await;
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), (None, Some("gzip")));
    assert!(packed.body.len() * 10 < plain.body.len());
}

#[tokio::test]
async fn a_problem_keeps_its_headers_and_gains_the_request_id() {
    let routes = Router::new().route("/busy", get(async || Problem::unavailable(7)));
    let server = TestHost::start(routes).await;
    let response = Request::get(server.addr(), "/busy")
        .header("x-request-id", "r-9")
        .header("accept-encoding", "gzip")
        .send()
        .await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("7")));
    assert_eq!(response.json()["requestId"], "r-9");
}

#[tokio::test]
async fn a_problem_keeps_every_header_of_one_name() {
    let refused = get(async || {
        let [one, two] = ["a=1", "b=2"].map(HeaderValue::from_static);
        Problem::unauthorized().header(header::SET_COOKIE, one).header(header::SET_COOKIE, two)
    });
    let server = TestHost::start(Router::new().route("/refused", refused)).await;
    let response = Request::get(server.addr(), "/refused").send().await;
    let cookies: Vec<_> = response.headers.iter().filter(|(name, _)| name == "set-cookie").collect();
    assert_eq!(cookies.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["a=1", "b=2"]);
}

#[tokio::test]
async fn once_draining_every_answer_asks_the_client_to_leave() {
    let server = TestHost::start(Router::new().route("/a", get(async || "a"))).await;
    let keep_alive = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n";
    server.host.start_draining();
    // `raw` reads until the server closes: it ends only because the server does.
    let answer = String::from_utf8(raw(server.addr(), keep_alive).await).unwrap();
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_service_may_answer_unknown_paths_itself() {
    let routes = Router::new().fallback(async || "its own page");
    let server = TestHost::start(routes).await;
    assert_eq!(Request::get(server.addr(), "/anything").send().await.text(), "its own page");
}
