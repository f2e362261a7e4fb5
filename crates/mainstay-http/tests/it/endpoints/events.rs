//! `/distributed/events` and what lies below it.

use std::sync::Mutex;

use mainstay_core::event::{self, Event, Options, Outcome};
use mainstay_http::endpoint::Backlog;
use mainstay_testkit::faulty::{self, Fault, Faults};
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

/// Events on a store that fails as it is told, whose first one has died of `cause` in the group `audit/eu`.
async fn with_a_dead_letter(cause: &'static str) -> (Endpoints, Events, Faults) {
    let (faults, mut options) = (Faults::none(), Options::default());
    options.op_timeout = Duration::from_millis(50);
    let store = event::Memory::new(options.memory, Clock::system());
    let store = Arc::new(faulty::event::FaultyStore::new(store, faults.clone()));
    let events = Events::new(store, options, &Metrics::new(), Clock::system());
    let shared = events.clone();
    let endpoints = endpoints_with(true, |state| state.events = shared).await;
    let handler = move |event: Event<Value>| async move {
        match event.data {
            Value::Null => Outcome::Reject { reason: cause.to_owned() },
            _ => Outcome::Done,
        }
    };
    events.on("user.*").group("audit/eu").ordered().handle(handler).await.unwrap();
    events.event("user.created").subject("user/7").publish(&Value::Null).await.unwrap();
    eventually_async("it is dead", PATIENCE, async || {
        endpoints.get("/distributed/events").await.json()["queues"][0]["dead"] == 1
    })
    .await;
    (endpoints, events, faults)
}

#[tokio::test]
async fn an_operator_sees_the_queues_and_the_dead_letters_and_has_one_delivered_again() {
    let (endpoints, events, _faults) = with_a_dead_letter("no such user").await;
    let answer = endpoints.get("/distributed/events").await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    let standing = answer.json();
    let queue = json!({"group": "audit/eu", "pattern": "user.*", "ordered": true, "queued": 0, "pending": 0,
        "delayed": 0, "dead": 1, "deadDropped": 0, "oldestAge": null});
    assert_eq!((&standing["store"], &standing["queues"]), (&json!("memory"), &json!([queue])));
    assert!(standing.get("outbox").is_none(), "{standing}");
    let letter = &standing["deadLetters"][0];
    assert_eq!(
        (&letter["type"], &letter["subject"], &letter["attempts"], &letter["cause"]),
        (&json!("user.created"), &json!("user/7"), &json!(1), &json!("no such user"))
    );
    letter["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();

    let id = letter["id"].as_str().unwrap();
    let path = format!("/distributed/events/dead-letters/{}/redrive", id.replace('/', "%2F"));
    let redriven = endpoints.send("POST", &path, None).await;
    assert_eq!((redriven.status, redriven.json()), (200, json!({"id": id})));
    eventually_async("it is dead once more", PATIENCE, async || {
        endpoints.get("/distributed/events").await.json()["queues"][0]["dead"] == 1
    })
    .await;
    drop(events);
    let never = id.replace("audit/eu", "audit").replace('/', "%2F");
    let path = format!("/distributed/events/dead-letters/{never}/redrive");
    assert_problem(&endpoints.send("POST", &path, None).await, 404, "not-found", None);
}

#[tokio::test]
async fn what_names_no_dead_letter_is_404() {
    let endpoints = endpoints(true).await;
    let event = "0190163d-8694-739b-aea5-966c26f8ad91";
    let others =
        ["a".to_owned(), event.to_owned(), format!("a%2Fb%2F{event}"), format!("a%2Fb%2F@c%2F{event}")];
    for id in NASTY.iter().map(|(written, _)| (*written).to_owned()).filter(|id| id != "..").chain(others) {
        let path = format!("/distributed/events/dead-letters/{id}/redrive");
        assert_problem(&endpoints.send("POST", &path, None).await, 404, "not-found", None);
    }
}

#[tokio::test]
async fn what_waits_in_the_outbox_is_shown() {
    let backlog = || Backlog { waiting: 3, oldest: Some(Duration::from_millis(1500)) };
    let bus = EventBus::new("redis").with_outbox(backlog);
    let endpoints = endpoints_with(true, |state| state.event_bus = bus).await;
    let standing = endpoints.get("/distributed/events").await.json();
    assert_eq!(
        standing,
        json!({"store": "redis", "queues": [], "deadLetters": [], "outbox": {"waiting": 3, "oldestAge": 1500}})
    );
}

#[tokio::test]
async fn without_the_store_the_bus_is_503_and_a_redrive_says_whether_it_may_have_happened() {
    let (endpoints, _events, faults) = with_a_dead_letter("no").await;
    let standing = endpoints.get("/distributed/events").await.json();
    let id = standing["deadLetters"][0]["id"].as_str().unwrap().replace('/', "%2F");
    let path = format!("/distributed/events/dead-letters/{id}/redrive");
    for (fault, status, kind) in
        [(Fault::Unavailable, 503, "unavailable"), (Fault::LostRequest, 504, "outcome-unknown")]
    {
        faults.always(fault);
        assert_problem(&endpoints.get("/distributed/events").await, 503, "unavailable", None);
        assert_problem(&endpoints.send("POST", &path, None).await, status, kind, None);
    }
}
