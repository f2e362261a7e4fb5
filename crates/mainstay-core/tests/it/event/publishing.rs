use std::time::Duration;

use mainstay_core::event::{Bounds, Error, Event, EventId, Options, Outcome};
use mainstay_core::telemetry::trace_context::TraceContext;
use serde_json::json;
use tokio::sync::mpsc;

use super::{Bus, SECOND, bounds, settled};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test(start_paused = true)]
async fn a_handler_is_told_what_was_published() {
    let bus = Bus::new();
    let (told, mut events) = mpsc::unbounded_channel();
    let handler = move |event: Event<serde_json::Value>| {
        told.send(event).unwrap();
        async {}
    };
    bus.events.subscribe("user.*", handler).await.unwrap();
    let id: EventId = "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap();
    let time = "2020-02-02T02:02:02Z".parse().unwrap();
    let trace = TraceContext::parse(TRACE).unwrap();
    let publish = bus.events.event("user.created").subject("user/17").id(id).time(time).trace(&trace);
    assert_eq!(publish.publish(&json!({"a": 1})).await.unwrap(), id);
    let event = events.recv().await.unwrap();
    assert_eq!((event.id, event.kind.as_str(), &*event.source), (id, "user.created", "users"));
    assert_eq!((event.subject.as_deref(), event.time, event.attempt), (Some("user/17"), time, 1));
    assert_eq!((event.trace_parent, event.data), (Some(trace), json!({"a": 1})));
    assert_eq!(bus.counted("events_published_total", &[("type", "user.created")]), 1);
}

#[tokio::test(start_paused = true)]
async fn publishing_twice_under_one_id_is_handled_once() {
    let bus = Bus::new();
    let (told, mut events) = mpsc::unbounded_channel();
    let handler = move |event: Event<u32>| {
        told.send(event.data).unwrap();
        async {}
    };
    bus.events.subscribe("user.*", handler).await.unwrap();
    let id = bus.events.publish("user.created", &1).await.unwrap();
    settled().await;
    assert_eq!(bus.events.event("user.created").id(id).publish(&1).await.unwrap(), id);
    bus.events.publish("user.created", &2).await.unwrap();
    settled().await;
    assert_eq!((events.try_recv(), events.try_recv()), (Ok(1), Ok(2)));
    assert!(events.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_an_error_that_names_it() {
    let mut options = Options::new("users");
    options.max_event_bytes = 16;
    let bus = Bus::with(options);
    for kind in ["", "User", "user..created", "user.*", "a\r\nb", "a\0", "..%2f", &"x".repeat(1 << 20)] {
        let refused = bus.events.publish(kind, &1).await.unwrap_err();
        assert!(matches!(refused, Error::Kind(_)), "{refused}");
    }
    let refused = bus.events.publish("user.created", &"x".repeat(15)).await.unwrap_err();
    assert!(matches!(refused, Error::TooLarge { size: 17, max: 16 }), "{refused}");
    bus.events.publish("user.created", &"x".repeat(14)).await.unwrap();
    let unwritable = std::collections::HashMap::from([((1, 2), 3)]);
    let refused = bus.events.publish("user.created", &unwritable).await.unwrap_err();
    assert!(matches!(refused, Error::Codec(_)), "{refused}");
    for subject in [String::new(), "x".repeat(1025)] {
        let refused = bus.events.event("user.created").subject(subject).publish(&1).await.unwrap_err();
        assert!(matches!(refused, Error::Option { field: "subject", .. }), "{refused}");
    }
    for (pattern, group) in [("*", "a"), ("user.*.x", "a"), ("", "a"), ("user.*", "")] {
        let refused = bus.events.on(pattern).group(group).handle(nothing).await.unwrap_err();
        assert!(matches!(refused, Error::Kind(_) | Error::Group(_)), "{pattern} {group}: {refused}");
    }
    let on = || bus.events.on("user.*");
    let backoff = Options::default().backoff;
    for (subscribe, wanted) in [
        (on().concurrency(0), "concurrency"),
        (on().concurrency(usize::MAX), "concurrency"),
        (on().retries(backoff, 0), "max_attempts"),
        (on().handler_timeout(Duration::ZERO), "handler_timeout"),
    ] {
        let refused = subscribe.handle(nothing).await.unwrap_err();
        assert!(matches!(&refused, Error::Option { field, .. } if *field == wanted), "{refused}");
    }
    assert!(bus.store.stats().await.unwrap().is_empty(), "nothing was opened on the way");
}

async fn nothing(_: Event<u32>) {}

#[tokio::test(start_paused = true)]
async fn no_time_is_too_long() {
    let mut options = Options::new("users");
    options.op_timeout = Duration::MAX;
    options.visibility = Duration::MAX;
    options.backoff = mainstay_core::backoff::Backoff::new(Duration::MAX, Duration::MAX);
    options.memory.dedup_window = Duration::MAX;
    let bus = Bus::with(options);
    let handler = |event: Event<bool>| async move {
        tokio::time::sleep(SECOND).await;
        if event.data {
            Outcome::Retry { after: Some(Duration::MAX) }
        } else {
            Outcome::Retry { after: None }
        }
    };
    bus.events.on("user.*").handler_timeout(Duration::MAX).handle(handler).await.unwrap();
    bus.events.publish_all("user.created", &[true, false]).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(bus.only_queue().await.delayed, 2);
    bus.events.stop(SECOND).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_gives_back_pressure_and_takes_again_when_there_is_room() {
    let mut options = Options::new("users");
    options.memory = bounds(3);
    let bus = Bus::with(options);
    bus.events.on("user.*").group("stopped").handle(nothing).await.unwrap().stop(SECOND).await.unwrap();
    let subscription = bus.events.on("user.*").group("fast").handle(nothing).await.unwrap();
    bus.events.publish_all("user.created", &[1, 2]).await.unwrap();
    settled().await;
    let refused = bus.events.publish_all("user.created", &[3, 4]).await.unwrap_err();
    assert!(matches!(refused, Error::Backpressure) && refused.is_transient(), "{refused}");
    bus.events.publish("user.created", &3).await.unwrap();
    let refused = bus.events.publish("user.created", &4).await.unwrap_err();
    assert!(matches!(refused, Error::Backpressure), "{refused}");
    settled().await;
    assert_eq!(bus.counted("events_published_total", &[("type", "user.created")]), 3);
    let handled = [("type", "user.created"), ("group", "fast"), ("result", "done")];
    assert_eq!(bus.counted("events_handled_total", &handled), 3, "nothing of what was refused");

    let mut stopped = subscription.queue().clone();
    stopped.group = "stopped".into();
    assert_eq!(bus.events.retire(&stopped).await.unwrap(), 3);
    bus.events.publish("user.created", &4).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_ids_is_bounded_by_time_and_number() {
    let mut options = Options::new("users");
    options.memory = Bounds::default();
    options.memory.dedup_ids = 2;
    let bus = Bus::with(options);
    bus.events.on("user.*").handle(nothing).await.unwrap().stop(SECOND).await.unwrap();
    let again = async |id| {
        let before = bus.only_queue().await.queued;
        bus.events.event("user.created").id(id).publish(&1).await.unwrap();
        bus.only_queue().await.queued - before
    };
    let first = bus.events.publish("user.created", &1).await.unwrap();
    let second = bus.events.publish("user.created", &1).await.unwrap();
    assert_eq!((again(first).await, again(second).await), (0, 0));
    bus.events.publish("user.created", &1).await.unwrap();
    assert_eq!((again(second).await, again(first).await), (0, 1), "the oldest was forgotten for the third");
    tokio::time::sleep(Bounds::default().dedup_window).await;
    assert_eq!(again(first).await, 1);
}
