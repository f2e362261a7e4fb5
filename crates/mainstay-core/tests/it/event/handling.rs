use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::backoff::Backoff;
use mainstay_core::event::{DeadLetterId, Event, Memory, Options, Outcome};
use mainstay_testkit::TestClock;
use mainstay_testkit::mutants::event::{Bug, Mutant};
use serde_json::{Value, json};

use super::{Bus, SECOND, settled};
use crate::log::Log;

#[tokio::test(start_paused = true)]
async fn an_event_reaches_every_group_once_and_every_broadcast_subscriber() {
    let bus = Bus::new();
    let log = Log::default();
    for name in ["users-1", "users-2", "audit", "all-1", "all-2", "other"] {
        let log = log.clone();
        let subscribe = bus.events.on(if name == "other" { "user.deleted" } else { "user.created" });
        let subscribe = match name {
            "audit" => subscribe.group("audit"),
            "all-1" | "all-2" => subscribe.broadcast(),
            _ => subscribe,
        };
        let group = name.split('-').next().unwrap();
        let handler = move |event: Event<u32>| {
            log.push(format!("{group} {}", event.data));
            async {}
        };
        subscribe.handle(handler).await.unwrap();
    }
    for number in 0..3 {
        bus.events.publish("user.created", &number).await.unwrap();
    }
    settled().await;
    let mut seen = log.entries();
    seen.sort();
    let wanted = ["all 0", "all 0", "all 1", "all 1", "all 2", "all 2", "audit 0", "audit 1", "audit 2"];
    let shared = ["users 0", "users 1", "users 2"];
    assert_eq!(seen, wanted.into_iter().chain(shared).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_is_tried_again_until_the_event_is_dead() {
    let bus = Bus::new();
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&attempts);
    let retries = Backoff::new(SECOND, 8 * SECOND);
    let handler = move |event: Event<Value>| {
        assert_eq!(count.fetch_add(1, SeqCst) + 1, event.attempt as usize);
        async { Err::<(), _>("no connection") }
    };
    bus.events.on("user.*").retries(retries, 3).handle(handler).await.unwrap();
    bus.events.publish("user.created", &json!({})).await.unwrap();
    settled().await;
    assert_eq!((attempts.load(SeqCst), bus.only_queue().await.delayed), (1, 1));
    tokio::time::sleep(SECOND + 2 * SECOND).await;
    settled().await;
    assert_eq!(attempts.load(SeqCst), 3);
    let [letter] = <[_; 1]>::try_from(bus.events.dead_letters(10).await.unwrap()).unwrap();
    assert_eq!((letter.attempts, &*letter.cause), (3, "no connection"));
    assert_eq!(bus.counted("events_redelivered_total", &[("group", "users")]), 2);
    let handled = |result| {
        bus.counted(
            "events_handled_total",
            &[("type", "user.created"), ("group", "users"), ("result", result)],
        )
    };
    assert_eq!((handled("done"), handled("retried"), handled("dead")), (0, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_or_unreadable_event_is_dead_at_once() {
    let bus = Bus::new();
    let handler = |event: Event<String>| async move { Outcome::Reject { reason: event.data } };
    bus.events.subscribe("user.*", handler).await.unwrap();
    bus.events.publish("user.created", "no such country").await.unwrap();
    bus.events.publish("user.created", &17).await.unwrap();
    settled().await;
    let letters = bus.events.dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|letter| letter.attempts == 1));
    assert_eq!(letters[0].cause, "no such country");
    assert!(letters[1].cause.contains("expected a string"), "{}", letters[1].cause);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_or_hangs_has_failed() {
    let bus = Bus::new();
    let handler = |event: Event<bool>| async move {
        assert!(!event.data, "panics");
        std::future::pending::<()>().await;
    };
    let no_wait = Backoff::new(Duration::ZERO, Duration::ZERO);
    let subscribe = bus.events.on("user.*").retries(no_wait, 2).handler_timeout(10 * SECOND);
    subscribe.handle(handler).await.unwrap();
    for panics in [true, false] {
        bus.events.publish("user.created", &panics).await.unwrap();
    }
    tokio::time::sleep(21 * SECOND).await;
    let letters = bus.events.dead_letters(10).await.unwrap();
    let causes: Vec<_> = letters.iter().map(|letter| &*letter.cause).collect();
    assert_eq!(causes, ["panicked: panics", "no end within 10s"]);
    assert_eq!(bus.only_queue().await.unfinished(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_handlers_run_at_once_than_the_concurrency_even_if_the_store_gives_too_much() {
    let options = Options::new("users");
    let memory = || Memory::new(options.memory, TestClock::new().clock());
    let greedy = Mutant::new(memory(), Bug::IgnoresCredits);
    for bus in [Bus::on(Arc::new(memory()), options.clone()), Bus::on(Arc::new(greedy), options.clone())] {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);
        let handler = move |_: Event<u32>| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::time::sleep(SECOND).await;
                running.fetch_sub(1, SeqCst);
            }
        };
        bus.events.on("user.*").concurrency(3).handle(handler).await.unwrap();
        bus.events.publish_all("user.created", &(0..20).collect::<Vec<_>>()).await.unwrap();
        settled().await;
        bus.events.stop(3_600 * SECOND).await.unwrap();
        assert_eq!(seen.load(SeqCst), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn the_queues_of_a_group_are_shown_as_one_in_the_metrics() {
    let bus = Bus::new();
    for pattern in ["user.*", "user.created"] {
        bus.events
            .on(pattern)
            .concurrency(1)
            .handle(|_: Event<u32>| std::future::pending::<()>())
            .await
            .unwrap();
    }
    bus.events.publish_all("user.created", &[1, 2, 3]).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let text = bus.metrics.render(mainstay_core::metrics::Format::Prometheus);
    for line in [
        "events_queue_length{group=\"users\"} 4",
        "events_pending{group=\"users\"} 2",
        "events_dead_letters{group=\"users\"} 0",
        "events_oldest_age_seconds{group=\"users\"} 1",
        "events_published_total{type=\"user.created\"} 3",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_of_a_broadcast_is_redriven_by_its_written_name() {
    for instance in ["a1", "node-1", "Node 1", "eu/1.2", "é%2F@"] {
        let mut options = Options::new("users");
        options.instance = instance.into();
        let bus = Bus::with(options);
        let handler = |_: Event<u32>| async { Outcome::Reject { reason: "no".into() } };
        bus.events.on("user.*").broadcast().handle(handler).await.unwrap();
        bus.events.publish("user.created", &1).await.unwrap();
        settled().await;
        let [letter] = <[_; 1]>::try_from(bus.events.dead_letters(10).await.unwrap()).unwrap();
        let named: DeadLetterId = letter.id.to_string().parse().unwrap();
        assert_eq!(named, letter.id);
        assert!(bus.events.redrive(&named).await.unwrap(), "{named}");
    }
}

/// Panics when it is dropped, unless it is told not to.
struct Fragile(bool);

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(self.0 || std::thread::panicking(), "breaks");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_while_it_is_dropped_has_failed() {
    let bus = Bus::new();
    let handler = |event: Event<u32>| async move {
        let _fragile = Fragile(event.attempt == 2);
        if event.attempt == 1 {
            std::future::pending::<()>().await;
        }
    };
    let no_wait = Backoff::new(Duration::ZERO, Duration::ZERO);
    let subscribe = bus.events.on("user.*").retries(no_wait, 2).handler_timeout(SECOND);
    subscribe.handle(handler).await.unwrap();
    bus.events.publish("user.created", &1).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(bus.only_queue().await.unfinished(), 0, "it was tried again at once");
    let retried = [("type", "user.created"), ("group", "users"), ("result", "retried")];
    assert_eq!(bus.counted("events_handled_total", &retried), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_handler_at_a_time_gets_events_in_the_order_of_publication() {
    let bus = Bus::new();
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        let seen = seen.clone();
        async move {
            tokio::task::yield_now().await;
            seen.push(event.data.to_string());
        }
    };
    bus.events.on("user.*").concurrency(1).handle(handler).await.unwrap();
    bus.events.publish_all("user.created", &(0..64).collect::<Vec<_>>()).await.unwrap();
    bus.events.stop(60 * SECOND).await.unwrap();
    assert_eq!(log.entries(), (0..64).map(|number| number.to_string()).collect::<Vec<_>>());
}
