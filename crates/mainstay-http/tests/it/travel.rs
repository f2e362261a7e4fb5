//! What a request brings along and takes with it: its deadline, its trace, whether to try again; and what becomes of
//! it when there is too much to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::future::join_all;
use mainstay_core::deadline::Deadline;
use mainstay_core::metrics::Metrics;
use mainstay_core::retry::{Budget, BudgetPolicy, Policy, Retry, Retryable};
use mainstay_core::telemetry::trace_context::TraceContext;
use mainstay_core::time::Clock;
use mainstay_testkit::http::Request;

use crate::TestHost;

/// Milliseconds that remain, as the handler finds them.
async fn remaining() -> String {
    Deadline::current().map_or_else(|| "none".to_owned(), |deadline| deadline.header().to_string())
}

async fn remaining_with(header: Option<&str>) -> u64 {
    let server = TestHost::start(Router::new().route("/", get(remaining))).await;
    let request = Request::get(server.addr(), "/");
    let request = match header {
        Some(header) => request.header("mainstay-deadline-ms", header),
        None => request,
    };
    let answer = request.send().await;
    assert_eq!(answer.status, 200);
    answer.text().parse().unwrap()
}

#[tokio::test]
async fn a_handler_finds_what_is_left_to_its_caller_or_to_the_server() {
    assert!((20_000..=30_000).contains(&remaining_with(None).await), "the server's own limit");
    assert!(remaining_with(Some("5000")).await <= 5_000);
    assert!(remaining_with(Some("999999999999")).await <= 30_000, "never more than the server's");
    for noise in ["soon", "-5", "1.5", ""] {
        assert!(remaining_with(Some(noise)).await > 20_000, "{noise:?} is ignored");
    }
}

#[tokio::test]
async fn a_handler_ends_when_its_caller_does_not_wait_any_more() {
    let ended = Arc::new(AtomicBool::new(false));
    struct Tell(Arc<AtomicBool>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let tell = Arc::clone(&ended);
    let hang = get(async move || {
        let _tell = Tell(tell);
        std::future::pending::<()>().await;
    });
    let server = TestHost::start(Router::new().route("/", hang)).await;
    let answer = Request::get(server.addr(), "/").header("mainstay-deadline-ms", "50").send().await;
    assert_eq!((answer.status, ended.load(Ordering::Relaxed)), (503, true));
}

#[tokio::test]
async fn a_handler_works_for_the_trace_of_its_caller() {
    let trace = get(async || TraceContext::current().unwrap().trace_id());
    let server = TestHost::start(Router::new().route("/", trace)).await;
    let caller = TraceContext::new_root();
    let answer = Request::get(server.addr(), "/").header("traceparent", caller.to_header()).send().await;
    assert_eq!(answer.text(), caller.trace_id());
}

#[tokio::test]
async fn a_failure_that_was_tried_again_says_not_to() {
    let budget = Budget::new(BudgetPolicy::default(), Clock::system()).unwrap();
    let mut policy = Policy::default();
    policy.max = Duration::ZERO;
    policy.first = Duration::ZERO;
    let retry = Retry::new("leaf", policy, budget, &Metrics::new(), Clock::system()).unwrap();
    let tries = get(async move || {
        let failed = retry.call(|()| Retryable::Yes, |_| async { Err::<(), ()>(()) });
        failed.await.map_err(|()| StatusCode::BAD_GATEWAY)
    });
    let fails = get(async || StatusCode::BAD_GATEWAY);
    let server = TestHost::start(Router::new().route("/tries", tries).route("/fails", fails)).await;
    let tried = Request::get(server.addr(), "/tries").send().await;
    assert_eq!((tried.status, tried.header("mainstay-retry")), (502, Some("no")));
    let failed = Request::get(server.addr(), "/fails").send().await;
    assert_eq!((failed.status, failed.header("mainstay-retry")), (502, None));
}

#[tokio::test]
async fn a_server_that_cannot_keep_up_refuses_at_once_but_never_operations() {
    // It blocks the one thread that there is.
    #[expect(clippy::disallowed_methods, reason = "what is shown is a thread that is blocked")]
    let work = get(async || std::thread::sleep(Duration::from_millis(10)));
    let live = get(async || "alive");
    let routes =
        Router::new().route("/work", work).route("/distributed/live", live.clone()).route("/up", live);
    let server = TestHost::start(routes).await;
    server.host.watched_at(["/up".to_owned()]);
    let host = Arc::clone(&server.host);
    let watching = tokio::spawn(async move { match host.watch_queue().await {} });
    let refused = loop {
        let works = join_all((0..32).map(|_| Request::get(server.addr(), "/work").send()));
        let (answers, up) = tokio::join!(works, Request::get(server.addr(), "/up").send());
        assert_eq!(up.status, 200);
        let live = Request::get(server.addr(), "/distributed/live").send().await;
        assert_eq!(live.status, 200);
        if let Some(refused) = answers.into_iter().find(|answer| answer.status != 200) {
            break refused;
        }
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()["type"], "urn:mainstay:problem:unavailable");
    assert!(refused.json()["requestId"].is_string(), "{}", refused.text());
    let shed =
        server.metrics.counter("shed_requests_total").with(&[("name", "http"), ("priority", "normal")]);
    assert!(shed.get() > 0);
    watching.abort();
}
