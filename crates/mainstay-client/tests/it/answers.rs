use mainstay_client::{Error, HttpClient};
use mainstay_core::breaker::State;
use mainstay_core::deadline::Deadline;
use mainstay_core::hedge;
use mainstay_core::metrics::Metrics;
use mainstay_core::telemetry::trace_context::TraceContext;

use super::server::{Server, reply};
use super::{client, guarded, millis, near, policy, try_client};

#[tokio::test]
async fn an_answer_comes_whole_with_status_and_headers() {
    let server = Server::start(|_, _| reply("201 Created", "x-a: b\r\n", r#"{"n":7}"#)).await;
    let sent = client(&server.url()).post("/things").header("x-c", "d").json(&[1, 2]).send();
    let answer = sent.await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["x-a"].to_str().unwrap()), (201, "b"));
    assert_eq!(answer.json::<serde_json::Value>().unwrap()["n"], 7);
    let seen = server.seen().concat();
    assert!(seen.starts_with("POST /things HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("x-c: d\r\n") && seen.contains("content-type: application/json\r\n"), "{seen}");
}

#[tokio::test]
async fn what_may_be_repeated_is_and_nothing_else() {
    let failing = |number: usize, _: &str| match number % 2 {
        1 => reply("503 Service Unavailable", "", ""),
        _ => reply("200 OK", "", ""),
    };
    let server = Server::start(failing).await;
    let client = client(&server.url());
    assert_eq!(client.get("/").send().await.unwrap().status(), 200);
    assert_eq!(client.post("/").send().await.unwrap().status(), 503, "once");
    assert_eq!(server.seen().len(), 3);
    assert_eq!(client.post("/").send().await.unwrap().status(), 200);
    let keyed = client.post("/").header("idempotency-key", "a").send();
    assert_eq!(keyed.await.unwrap().status(), 200);
    assert_eq!(client.get("/").repeatable(false).send().await.unwrap().status(), 503);
}

#[tokio::test]
async fn what_may_not_be_repeated_is_not_hedged() {
    let mut policy = policy();
    let mut hedging = hedge::Policy::default();
    (hedging.min_samples, hedging.min_delay, hedging.max_delay) = (8, millis(1), millis(1));
    policy.hedge = Some(hedging);
    (policy.attempt_timeout, policy.retry.attempts) = (millis(300), 1);
    let server = Server::start(|_, request| match request {
        _ if request.contains("/hang") => None,
        _ => reply("200 OK", "", ""),
    })
    .await;
    let client = try_client(&[server.url()], policy, near()).unwrap();
    for _ in 0..16 {
        client.get("/").send().await.unwrap();
    }
    let hanging = |method: &str| {
        let begin = format!("{method} /hang");
        server.seen().iter().filter(|request| request.starts_with(&begin)).count()
    };
    assert!(matches!(client.post("/hang").send().await, Err(Error::TimedOut)));
    assert!(matches!(client.get("/hang").send().await, Err(Error::TimedOut)));
    assert_eq!((hanging("POST"), hanging("GET")), (1, 2));
}

#[tokio::test]
async fn a_request_that_was_redirected_and_then_not_connected_may_have_been_carried_out() {
    let server = Server::start(|_, _| reply("303 See Other", "location: http://127.0.0.1:1/\r\n", "")).await;
    let error = client(&server.url()).post("/").send().await.unwrap_err();
    assert_eq!(server.seen().len(), 1, "not repeated");
    assert!(matches!(error, Error::Broken(_)) && !error.is_not_sent(), "{error:?}");
    let server =
        Server::start(|_, _| reply("303 See Other", "location: http://169.254.169.254/\r\n", "")).await;
    let error = client(&server.url()).post("/").send().await.unwrap_err();
    assert!(matches!(error, Error::OutOfReach { .. }) && !error.is_not_sent(), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_forbids_it_is_not_asked_for_again() {
    let server = Server::start(|_, _| reply("503 Service Unavailable", "mainstay-retry: no\r\n", "")).await;
    assert_eq!(client(&server.url()).get("/").send().await.unwrap().status(), 503);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_is_an_error_that_says_so() {
    let half = |_: usize, _: &str| Some("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned());
    let server = Server::start(half).await;
    let error = client(&server.url()).post("/").send().await.unwrap_err();
    assert!(matches!(error, Error::Broken(_)) && !error.is_not_sent(), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_service_that_is_not_there_is_tried_and_then_left_alone() {
    let gone = {
        let server = Server::start(|_, _| None).await;
        server.url()
    };
    let client = client(&gone);
    // Nothing was sent, so that even this may be tried again: the third failure opens the breaker.
    let error = client.post("/").send().await.unwrap_err();
    assert!(matches!(&error, Error::Connect(_)) && error.is_not_sent(), "{error:?}");
    assert_eq!(client.pipeline().breaker().state(), State::Open);
    assert!(matches!(client.get("/").send().await, Err(Error::Open { .. })));
}

#[tokio::test]
async fn a_service_that_hangs_costs_an_attempts_time_until_the_breaker_opens() {
    let mut policy = policy();
    (policy.attempt_timeout, policy.deadline) = (millis(100), millis(5_000));
    let server = Server::start(|_, _| None).await;
    let client = try_client(&[server.url()], policy, near()).unwrap();
    assert!(matches!(client.post("/").send().await, Err(Error::TimedOut)), "not repeated");
    assert_eq!(server.seen().len(), 1);
    client.get("/").send().await.unwrap_err();
    assert!(matches!(client.get("/").send().await, Err(Error::Open { .. })));
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn an_attempt_that_is_dropped_is_counted_like_the_others() {
    let mut policy = policy();
    (policy.attempt_timeout, policy.retry.attempts) = (millis(50), 2);
    let server = Server::start(|_, _| None).await;
    let (metrics, (breakers, pipeline)) = (Metrics::new(), guarded(policy));
    let url = server.url().parse().unwrap();
    let client = HttpClient::new(pipeline, &[url], near(), &breakers, &metrics).unwrap();
    client.get("/").send().await.unwrap_err();
    let labels = [("client", "peer"), ("method", "GET"), ("status", "dropped")];
    assert_eq!(metrics.counter("http_client_requests_total").with(&labels).get(), 2);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_refused_whether_or_not_it_says_so() {
    let long = "x".repeat(2_000);
    let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{long}\r\n0\r\n\r\n");
    let server = Server::start(move |number, _| match number {
        1 => reply("200 OK", "", &long),
        _ => Some(chunked.clone()),
    })
    .await;
    let mut options = near();
    options.max_body = 1_999;
    let client = try_client(&[server.url()], policy(), options).unwrap();
    for _ in 0..2 {
        assert!(matches!(client.get("/").send().await, Err(Error::TooLarge { max: 1_999 })));
    }
    assert_eq!(server.seen().len(), 2, "it would be as long again");
}

#[tokio::test]
async fn deadline_and_trace_travel_with_the_request() {
    let server = Server::start(|_, _| reply("200 OK", "", "")).await;
    let client = client(&server.url());
    let trace = TraceContext::new_root();
    let sending = trace.clone().scope(client.get("/").send());
    Deadline::after(millis(5_000)).scope(sending).await.unwrap();
    let seen = server.seen().concat();
    let header = |name: &str| {
        let line = seen.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{name} in {seen}")).to_owned()
    };
    let remaining: u64 = header("mainstay-deadline-ms").parse().unwrap();
    assert!((1_000..=3_000).contains(&remaining), "an attempt's time, {remaining}");
    let sent = TraceContext::parse(&header("traceparent")).unwrap();
    assert_eq!(sent.trace_id(), trace.trace_id());
    assert_ne!(sent.span_id(), trace.span_id());
}
