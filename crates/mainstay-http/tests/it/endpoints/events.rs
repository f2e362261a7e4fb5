//! `/distributed/events/{channel}`

use std::sync::Mutex;

use mainstay_core::event::{Event, Options};
use serde_json::Value;

use super::*;

async fn with_events(options: Options) -> (Endpoints, Events) {
    let events = Events::in_memory(options, &Metrics::new(), Clock::system());
    let shared = events.clone();
    (endpoints_with(true, |state| state.events = shared).await, events)
}

#[tokio::test]
async fn the_body_is_the_events_data() {
    let (endpoints, events) = with_events(Options::default()).await;
    let seen: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let sink = Arc::clone(&seen);
    let handler = move |event: Event<Value>| {
        sink.lock().unwrap().push((event.id.to_string(), event.data));
        std::future::ready(())
    };
    events.subscribe("user.created", handler).await.unwrap();
    let mut published = Vec::new();
    for (body, data) in [
        (Some(r#"{"name":"Ada"}"#), json!({"name": "Ada"})),
        (Some("7"), json!(7)),
        (Some("null"), json!(null)),
        (Some(""), json!(null)),
        (None, json!(null)),
    ] {
        let answer = endpoints.send("POST", "/distributed/events/user.created", body).await;
        assert_eq!(
            (answer.status, answer.json()["channel"].clone()),
            (200, json!("user.created")),
            "{body:?}"
        );
        published.push((answer.json()["id"].as_str().unwrap().to_owned(), data));
    }
    eventually_async("all of them are handled", PATIENCE, async || seen.lock().unwrap().len() == 5).await;
    seen.lock().unwrap().sort_by_key(|(id, _)| published.iter().position(|(known, _)| known == id));
    assert_eq!(*seen.lock().unwrap(), published);
}

#[tokio::test]
async fn a_channel_that_is_no_type_of_events_is_422() {
    let endpoints = endpoints(true).await;
    let long = "x".repeat(129);
    let others = ["A", "a%20b", ".", "a..b", "a.*", &long];
    for channel in NASTY.iter().map(|(written, _)| *written).chain(others) {
        let answer = endpoints.send("POST", &format!("/distributed/events/{channel}"), Some("{}")).await;
        assert_problem(&answer, 422, "validation", Some("channel"));
    }
}

#[tokio::test]
async fn data_that_is_no_json_or_too_large_is_refused() {
    let mut options = Options::default();
    options.max_event_bytes = 1000;
    let (endpoints, _events) = with_events(options).await;
    let path = "/distributed/events/a";
    for no_json in ["{", "NaN", "1e400", "a"] {
        assert_problem(&endpoints.send("POST", path, Some(no_json)).await, 400, "bad-request", None);
    }
    for size in [1000, 2 << 20] {
        let body = json!("x".repeat(size)).to_string();
        assert_problem(&endpoints.send("POST", path, Some(&body)).await, 413, "payload-too-large", None);
    }
    let text = Request::post(endpoints.server.addr(), path).body("{}").send().await;
    assert_problem(&text, 415, "unsupported-media-type", None);
}

#[tokio::test]
async fn a_full_queue_is_503_with_a_time_to_come_back() {
    let mut options = Options::default();
    options.memory.queue = 1;
    let (endpoints, events) = with_events(options).await;
    events.subscribe("a", |_: Event<Value>| std::future::pending::<()>()).await.unwrap();
    let publish = async || endpoints.send("POST", "/distributed/events/a", None).await;
    assert_eq!(publish().await.status, 200);
    let full = publish().await;
    assert_problem(&full, 503, "unavailable", None);
    assert_eq!(full.header("retry-after"), Some("1"));
}
