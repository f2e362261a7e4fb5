use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::backoff::Backoff;
use mainstay_core::event::{Error, Event, Events, Memory, Options, Outcome, Store};
use mainstay_core::metrics::Metrics;
use mainstay_testkit::TestClock;
use mainstay_testkit::faulty::event::FaultyStore;
use mainstay_testkit::faulty::{Fault, Faults};

use super::{Bus, SECOND, settled, tasks};
use crate::log::Log;

#[tokio::test(start_paused = true)]
async fn stopping_drains_what_was_accepted_retries_and_all() {
    let bus = Bus::new();
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        let seen = seen.clone();
        async move {
            tokio::time::sleep(SECOND).await;
            if event.data == 0 && event.attempt < 3 {
                return Err("not yet");
            }
            seen.push(event.data.to_string());
            Ok(())
        }
    };
    bus.events.on("user.*").concurrency(4).handle(handler).await.unwrap();
    bus.events.publish_all("user.created", &(0..40).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(bus.events.stop(60 * SECOND).await, Ok(()));
    assert_eq!(log.entries().len(), 40);
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_handle_refuses_publishers_handlers_and_subscribers() {
    let bus = Bus::new();
    let events = bus.events.clone();
    let log = Log::default();
    let seen = log.clone();
    let handler = move |_: Event<u32>| {
        let (events, seen) = (events.clone(), seen.clone());
        async move {
            tokio::time::sleep(SECOND).await;
            seen.push(events.publish("mail.wanted", &1).await.unwrap_err().to_string());
        }
    };
    bus.events.subscribe("user.*", handler).await.unwrap();
    bus.events.publish("user.created", &1).await.unwrap();
    settled().await;
    bus.events.stop(5 * SECOND).await.unwrap();
    assert_eq!(log.entries(), ["events are stopped"]);
    assert!(matches!(bus.events.publish("user.created", &1).await, Err(Error::Stopped)));
    let refused = bus.events.subscribe("user.*", |_: Event<u32>| async {}).await;
    assert!(matches!(refused, Err(Error::Stopped)));
    assert_eq!(bus.events.stop(SECOND).await, Ok(()), "stopping again is allowed");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_deadline_is_counted() {
    let bus = Bus::new();
    let hanging = bus.events.on("user.*").concurrency(2).handle(|_: Event<u32>| std::future::pending::<()>());
    hanging.await.unwrap();
    bus.events.on("user.*").broadcast().handle(|_: Event<u32>| std::future::pending::<()>()).await.unwrap();
    let later = |_: Event<u32>| async { Outcome::Retry { after: Some(100 * SECOND) } };
    bus.events.on("user.*").group("later").handle(later).await.unwrap();
    bus.events.publish_all("user.created", &[1, 2, 3]).await.unwrap();
    let started = tokio::time::Instant::now();
    let unfinished = bus.events.stop(10 * SECOND).await.unwrap_err();
    assert_eq!((unfinished.events, unfinished.stuck), (9, 0));
    assert!(started.elapsed() <= 11 * SECOND, "{:?}", started.elapsed());
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_publish_under_way_when_stopping_begins_is_drained_or_refused() {
    for yields in 0..4 {
        let bus = Bus::new();
        let handled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&handled);
        let handler = move |_: Event<u32>| {
            count.fetch_add(1, SeqCst);
            async {}
        };
        bus.events.subscribe("user.*", handler).await.unwrap();
        let publishers: Vec<_> = (0..100)
            .map(|number| {
                let events = bus.events.clone();
                tokio::spawn(async move { events.publish("user.created", &number).await.is_ok() })
            })
            .collect();
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        bus.events.stop(SECOND).await.unwrap();
        let mut accepted = 0;
        for publisher in publishers {
            accepted += usize::from(publisher.await.unwrap());
        }
        assert_eq!(handled.load(SeqCst), accepted);
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_a_publish_that_is_on_its_way_to_the_store() {
    let faults = Faults::none();
    let memory = Memory::new(Options::default().memory, TestClock::new().clock());
    let bus = Bus::on(Arc::new(FaultyStore::new(memory, faults.clone())), Options::new("users"));
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        seen.push(event.data.to_string());
        async {}
    };
    bus.events.subscribe("user.*", handler).await.unwrap();
    faults.delay(Duration::from_millis(400));
    let events = bus.events.clone();
    let publish = tokio::spawn(async move { events.publish("user.created", &1).await });
    settled().await;
    faults.delay(Duration::ZERO);
    assert_eq!(bus.events.stop(10 * SECOND).await, Ok(()));
    publish.await.unwrap().unwrap();
    assert_eq!(log.entries(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_subscription_gives_its_events_back_to_the_group() {
    let bus = Bus::new();
    let slow = bus.events.on("user.*").concurrency(2);
    let slow = slow.handle(|_: Event<u32>| std::future::pending::<()>()).await.unwrap();
    bus.events.publish_all("user.created", &[1, 2, 3]).await.unwrap();
    settled().await;
    assert_eq!(bus.only_queue().await.pending, 2);
    slow.stop(SECOND).await.unwrap();
    assert_eq!((bus.only_queue().await.pending, bus.only_queue().await.unfinished()), (0, 3));
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        seen.push(format!("{} {}", event.data, event.attempt));
        async {}
    };
    bus.events.on("user.*").concurrency(1).handle(handler).await.unwrap();
    settled().await;
    assert_eq!(log.entries(), ["1 2", "2 2", "3 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_subscription_lets_its_handlers_end_first() {
    let bus = Bus::new();
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        let seen = seen.clone();
        async move {
            tokio::time::sleep(SECOND).await;
            seen.push(event.data.to_string());
        }
    };
    let subscription = bus.events.on("user.*").concurrency(1).handle(handler).await.unwrap();
    bus.events.publish_all("user.created", &[1, 2]).await.unwrap();
    settled().await;
    subscription.stop(5 * SECOND).await.unwrap();
    assert_eq!(log.entries(), ["1"]);
    assert_eq!(bus.only_queue().await.queued, 1, "nothing more was taken");
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_broadcast_leaves_no_queue_behind() {
    let bus = Bus::new();
    let subscription = bus.events.on("user.*").broadcast().handle(|_: Event<u32>| async {}).await.unwrap();
    assert_eq!(bus.store.stats().await.unwrap().len(), 1);
    subscription.stop(SECOND).await.unwrap();
    assert_eq!(bus.store.stats().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_tasks_and_gives_the_events_back() {
    let store: Arc<dyn Store> = Arc::new(Memory::new(Options::default().memory, TestClock::new().clock()));
    let handle = |store| Events::new(store, Options::new("users"), &Metrics::new(), TestClock::new().clock());
    let events = handle(Arc::clone(&store));
    events.on("user.*").handle(|_: Event<u32>| std::future::pending::<()>()).await.unwrap();
    events.on("user.*").broadcast().handle(|_: Event<u32>| std::future::pending::<()>()).await.unwrap();
    events.publish("user.created", &1).await.unwrap();
    settled().await;
    drop(events);
    settled().await;
    assert_eq!(tasks(), 0);
    let stats = store.stats().await.unwrap();
    assert_eq!(stats.len(), 1, "the broadcast's queue is gone");
    assert_eq!((stats[0].pending, stats[0].unfinished()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_redriven_dead_letter_is_handled_once_however_often_it_is_redriven() {
    let bus = Bus::new();
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        seen.push(format!("{} {}", event.data, event.attempt));
        let first = seen.entries().len() == 1;
        async move { if first { Err("not yet") } else { Ok(()) } }
    };
    let once = Backoff::new(Duration::ZERO, Duration::ZERO);
    bus.events.on("user.*").retries(once, 1).handle(handler).await.unwrap();
    bus.events.publish("user.created", &17).await.unwrap();
    settled().await;
    let [letter] = <[_; 1]>::try_from(bus.events.dead_letters(10).await.unwrap()).unwrap();
    let named = letter.id.to_string().parse().unwrap();
    let redriven =
        tokio::join!(bus.events.redrive(&letter.id), bus.events.redrive(&named), bus.events.redrive(&named));
    assert!(matches!(redriven, (Ok(true), Ok(false), Ok(false))), "{redriven:?}");
    settled().await;
    assert!(!bus.events.redrive(&letter.id).await.unwrap());
    assert_eq!(log.entries(), ["17 1", "17 1"]);
    assert!(bus.events.dead_letters(10).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_held_does_not_outlive_the_last_handle() {
    let bus = Bus::new();
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let handler = move |_: Event<u32>| {
        count.fetch_add(1, SeqCst);
        async {}
    };
    let held = bus.events.subscribe("user.*", handler).await.unwrap();
    let other =
        Events::new(Arc::clone(&bus.store), Options::new("users"), &Metrics::new(), TestClock::new().clock());
    drop(bus.events);
    settled().await;
    assert_eq!(tasks(), 0);
    other.publish("user.created", &1).await.unwrap();
    settled().await;
    assert_eq!(handled.load(SeqCst), 0);
    held.stop(SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_begins_while_the_handle_stops_is_refused_or_stopped() {
    let faults = Faults::none();
    let memory = Memory::new(Options::default().memory, TestClock::new().clock());
    let bus = Bus::on(Arc::new(FaultyStore::new(memory, faults.clone())), Options::new("users"));
    faults.delay(Duration::from_millis(400));
    let events = bus.events.clone();
    let subscribe = tokio::spawn(async move {
        let subscribe = events.on("user.*").broadcast();
        subscribe.handle(|_: Event<u32>| std::future::pending::<()>()).await.map(|_| ())
    });
    settled().await;
    faults.delay(Duration::ZERO);
    assert_eq!(bus.events.stop(10 * SECOND).await, Ok(()));
    let begun = subscribe.await.unwrap();
    assert!(matches!(begun, Err(Error::Stopped)), "{begun:?}");
    settled().await;
    assert_eq!(tasks(), 0);
    assert_eq!(bus.store.stats().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_leaves_no_queue_behind_if_nobody_waits_for_its_end() {
    let bus = Bus::new();
    let slow = |_: Event<u32>| tokio::time::sleep(10 * SECOND);
    let subscription = bus.events.on("user.*").broadcast().handle(slow).await.unwrap();
    bus.events.publish_all("user.created", &[1, 2]).await.unwrap();
    settled().await;
    let impatient = tokio::time::timeout(SECOND, subscription.stop(20 * SECOND)).await;
    assert!(impatient.is_err());
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(bus.store.stats().await.unwrap(), []);
}

/// A bus on a store that outlives it.
fn durable() -> (Bus, Faults) {
    let faults = Faults::none();
    let memory = Memory::new(Options::default().memory, TestClock::new().clock());
    let store = FaultyStore::new(memory, faults.clone()).durable();
    (Bus::on(Arc::new(store), Options::new("users")), faults)
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_in_a_store_that_stays_is_left_to_the_next_instance() {
    let (bus, _) = durable();
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        let seen = seen.clone();
        async move {
            tokio::time::sleep(SECOND).await;
            seen.push(event.data.to_string());
        }
    };
    bus.events.on("user.*").concurrency(2).handle(handler.clone()).await.unwrap();
    bus.events.on("user.*").broadcast().handle(handler).await.unwrap();
    bus.events.publish_all("user.created", &(0..40).collect::<Vec<_>>()).await.unwrap();
    settled().await;
    let started = tokio::time::Instant::now();
    assert_eq!(bus.events.stop(60 * SECOND).await, Ok(()));
    assert!(started.elapsed() < 3 * SECOND, "{:?}", started.elapsed());
    let left = bus.only_queue().await;
    assert_eq!((log.entries().len(), left.queued, left.pending, left.delayed), (2 + 16, 38, 0, 0));
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_on_its_way_when_stopping_begins_is_not_left_to_the_visibility() {
    let (bus, faults) = durable();
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        seen.push(event.data.to_string());
        async {}
    };
    bus.events.subscribe("user.*", handler).await.unwrap();
    settled().await;
    faults.delay_answers(Duration::from_millis(100));
    tokio::time::sleep(3 * SECOND).await;
    let events = bus.events.clone();
    let publish = tokio::spawn(async move { events.publish("user.created", &1).await });
    settled().await;
    assert!(log.entries().is_empty(), "it is delivered, and not here yet");
    assert_eq!(bus.events.stop(SECOND).await, Ok(()));
    publish.await.unwrap().unwrap();
    assert_eq!((log.entries().len(), bus.only_queue().await.unfinished()), (1, 0));
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_a_store_that_is_away() {
    for fault in [Fault::Hang, Fault::Unavailable, Fault::LostReply] {
        let (bus, faults) = durable();
        for broadcast in [true, false] {
            let subscribe = bus.events.on("user.*");
            let subscribe = if broadcast { subscribe.broadcast() } else { subscribe };
            subscribe.handle(|_: Event<u32>| tokio::time::sleep(SECOND)).await.unwrap();
        }
        bus.events.feed("user.*").await.unwrap();
        bus.events.publish("user.created", &1).await.unwrap();
        settled().await;
        faults.always(fault);
        let started = tokio::time::Instant::now();
        let _told = bus.events.stop(5 * SECOND).await;
        assert!(started.elapsed() <= 8 * SECOND, "{fault:?}: {:?}", started.elapsed());
        assert_eq!(tasks(), 0, "{fault:?}");
    }
}
