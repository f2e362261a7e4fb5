use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::event::{Error, Event, Memory, Options};
use mainstay_testkit::TestClock;
use mainstay_testkit::faulty::event::FaultyStore;
use mainstay_testkit::faulty::{Fault, Faults};

use super::{Bus, SECOND, settled, tasks};
use crate::log::Log;

fn faulty() -> (Bus, Faults) {
    let faults = Faults::none();
    let options = Options::new("users");
    let memory = Memory::new(options.memory, TestClock::new().clock());
    (Bus::on(Arc::new(FaultyStore::new(memory, faults.clone())), options), faults)
}

/// A handler that writes down what it gets.
async fn subscribe(bus: &Bus) -> Log {
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        seen.push(format!("{} {}", event.data, event.attempt));
        async {}
    };
    bus.events.subscribe("user.*", handler).await.unwrap();
    log
}

/// What was handled, without the attempts.
fn numbers(log: &Log) -> Vec<String> {
    log.entries().iter().map(|entry| entry.split(' ').next().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn publishing_is_refused_at_once_while_the_store_is_not_reached() {
    let (bus, faults) = faulty();
    faults.always(Fault::Unavailable);
    let refused = bus.events.publish("user.created", &1).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)) && refused.is_transient(), "{refused}");
    assert_eq!(faults.calls(), 1);
    let refused = bus.events.subscribe("user.*", |_: Event<u32>| async {}).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_and_the_event_is_handled_once() {
    let (bus, faults) = faulty();
    let log = subscribe(&bus).await;
    settled().await;
    for (number, fault) in [(1, Fault::LostReply), (2, Fault::LostRequest)] {
        faults.next(2, fault);
        bus.events.publish("user.created", &number).await.unwrap();
    }
    faults.mend();
    // The consumer may have lost an answer, too.
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(numbers(&log), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_stays_unknown_is_said_with_the_id_to_publish_again_under() {
    let (bus, faults) = faulty();
    let log = subscribe(&bus).await;
    settled().await;
    for (number, fault) in [Fault::LostReply, Fault::LostRequest, Fault::Hang].into_iter().enumerate() {
        faults.always(fault);
        let started = tokio::time::Instant::now();
        let Error::Unknown { id: Some(id), .. } =
            bus.events.publish("user.created", &number).await.unwrap_err()
        else {
            panic!("the answer was lost");
        };
        assert!(started.elapsed() <= Options::default().op_timeout);
        faults.mend();
        bus.events.event("user.created").id(id).publish(&number).await.unwrap();
        tokio::time::sleep(100 * SECOND).await;
        let times = numbers(&log).iter().filter(|handled| **handled == number.to_string()).count();
        assert_eq!(times, 1, "{fault:?}: once, however often it was published");
    }
}

#[tokio::test(start_paused = true)]
async fn consumers_go_on_by_themselves_after_an_outage() {
    for fault in [Fault::Unavailable, Fault::LostReply, Fault::LostRequest, Fault::Hang] {
        let (bus, faults) = faulty();
        let log = subscribe(&bus).await;
        settled().await;
        faults.always(fault);
        tokio::time::sleep(60 * SECOND).await;
        let calls = faults.calls();
        assert!((10..100).contains(&calls), "{fault:?}: {calls} questions in a minute");
        faults.mend();
        bus.events.publish("user.created", &1).await.unwrap();
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(log.entries().len(), 1, "{fault:?}");
        bus.events.stop(SECOND).await.unwrap();
        assert_eq!(tasks(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_the_store_has_forgotten_is_opened_again() {
    let bus = Bus::new();
    let log = subscribe(&bus).await;
    let queue = bus.only_queue().await.queue;
    bus.store.retire(&queue).await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    bus.events.publish("user.created", &1).await.unwrap();
    settled().await;
    assert_eq!(log.entries(), ["1 1"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_delivered_into_a_lost_answer_is_delivered_again() {
    let (bus, faults) = faulty();
    faults.delay(100 * Duration::from_millis(1));
    let log = subscribe(&bus).await;
    // The consumer's first question is on its way and will take the event; its answer is lost.
    faults.next(1, Fault::LostReply);
    settled().await;
    faults.mend();
    bus.events.publish("user.created", &1).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!((log.entries().len(), bus.only_queue().await.pending), (0, 1));
    tokio::time::sleep(Options::default().visibility).await;
    assert_eq!(log.entries(), ["1 2"]);
    assert_eq!(bus.only_queue().await.unfinished(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_not_run_again_because_an_answer_to_its_verdict_was_lost() {
    let (bus, faults) = faulty();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let during = faults.clone();
    let handler = move |_: Event<u32>| {
        count.fetch_add(1, SeqCst);
        during.next(3, Fault::LostReply);
        async {}
    };
    bus.events.subscribe("user.*", handler).await.unwrap();
    settled().await;
    bus.events.publish("user.created", &1).await.unwrap();
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(runs.load(SeqCst), 1);
    assert_eq!(bus.only_queue().await.unfinished(), 0);
    let done = [("type", "user.created"), ("group", "users"), ("result", "done")];
    assert_eq!(bus.counted("events_handled_total", &done), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_ten_times_the_visibility_runs_once() {
    let mut options = Options::new("users");
    options.visibility = SECOND;
    let bus = Bus::with(options);
    let runs = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let count = Arc::clone(&runs);
        let handler = move |_: Event<u32>| {
            count.fetch_add(1, SeqCst);
            tokio::time::sleep(10 * SECOND)
        };
        bus.events.subscribe("user.*", handler).await.unwrap();
    }
    bus.events.publish("user.created", &1).await.unwrap();
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(runs.load(SeqCst), 1);
    assert_eq!(bus.only_queue().await.unfinished(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_outlives_its_queue_does_not_end_the_events_of_the_next() {
    let bus = Bus::new();
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        let seen = seen.clone();
        async move {
            tokio::time::sleep(10 * SECOND).await;
            // The second begins while the first is at work, and fails after it has ended.
            if event.data == 2 && event.attempt == 1 {
                return Err("not yet");
            }
            seen.push(event.data.to_string());
            Ok(())
        }
    };
    bus.events.subscribe("user.*", handler).await.unwrap();
    bus.events.publish("user.created", &1).await.unwrap();
    settled().await;
    let queue = bus.only_queue().await.queue;
    bus.events.retire(&queue).await.unwrap();
    tokio::time::sleep(5 * SECOND).await;
    bus.events.publish("user.created", &2).await.unwrap();
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(numbers(&log), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_said_after_a_lost_answer_makes_a_publish_known() {
    let (bus, faults) = faulty();
    let log = subscribe(&bus).await;
    settled().await;
    faults.next(1, Fault::LostReply);
    let publish = async {
        let told = bus.events.publish("user.created", &1).await;
        faults.mend();
        told
    };
    let outage = async {
        // After the first question, before the second.
        tokio::task::yield_now().await;
        faults.always(Fault::Unavailable);
    };
    let (told, ()) = tokio::join!(publish, outage);
    assert!(matches!(told, Err(Error::Unknown { id: Some(_), .. })), "{told:?}");
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(numbers(&log), ["1"], "it was published");
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_that_did_not_begin_leaves_no_queue_behind() {
    let (bus, faults) = faulty();
    faults.next(1, Fault::LostReply);
    let refused = bus.events.on("user.*").broadcast().handle(|_: Event<u32>| async {}).await;
    assert!(matches!(refused, Err(Error::Unknown { .. })), "{refused:?}");
    assert_eq!(bus.store.stats().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn what_was_published_while_the_store_had_forgotten_a_queue_is_handled() {
    for broadcast in [false, true] {
        let bus = Bus::new();
        let log = Log::default();
        let seen = log.clone();
        let handler = move |event: Event<u32>| {
            seen.push(event.data.to_string());
            async {}
        };
        let subscribe = bus.events.on("user.*");
        let subscribe = if broadcast { subscribe.broadcast() } else { subscribe };
        let subscription = subscribe.handle(handler).await.unwrap();
        bus.events.publish("user.created", &1).await.unwrap();
        settled().await;
        bus.store.retire(subscription.queue()).await.unwrap();
        bus.events.publish_all("user.created", &[2, 3]).await.unwrap();
        tokio::time::sleep(10 * SECOND).await;
        bus.events.publish("user.created", &4).await.unwrap();
        settled().await;
        assert_eq!(log.entries(), ["1", "2", "3", "4"], "once, and none is missing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_survives_an_outage_shorter_than_the_visibility() {
    let faults = Faults::none();
    let mut options = Options::new("users");
    options.visibility = 10 * SECOND;
    let memory = Memory::new(options.memory, TestClock::new().clock());
    let bus = Bus::on(Arc::new(FaultyStore::new(memory, faults.clone())), options);
    let runs = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let count = Arc::clone(&runs);
        let handler = move |_: Event<u32>| {
            count.fetch_add(1, SeqCst);
            tokio::time::sleep(25 * SECOND)
        };
        bus.events.subscribe("user.*", handler).await.unwrap();
    }
    bus.events.publish("user.created", &1).await.unwrap();
    tokio::time::sleep(4 * SECOND).await;
    for fault in [Fault::Hang, Fault::Unavailable] {
        faults.always(fault);
        tokio::time::sleep(7 * SECOND).await;
        faults.mend();
        tokio::time::sleep(2 * SECOND).await;
    }
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(runs.load(SeqCst), 1);
    assert_eq!(bus.only_queue().await.unfinished(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_patient_subscription_begins_while_the_store_is_away_and_misses_nothing_from_then_on() {
    let (bus, faults) = faulty();
    bus.events.publish("user.created", &0).await.unwrap();
    tokio::time::sleep(SECOND).await;
    faults.always(Fault::Unavailable);
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        seen.push(format!("{} {}", event.data, event.attempt));
        async {}
    };
    bus.events.on("user.*").patient().handle(handler).await.unwrap();
    tokio::time::sleep(100 * SECOND).await;
    faults.mend();
    // Before the consumer has noticed.
    bus.events.publish("user.created", &1).await.unwrap();
    tokio::time::sleep(100 * SECOND).await;
    bus.events.publish("user.created", &2).await.unwrap();
    settled().await;
    assert_eq!(numbers(&log), ["1", "2"]);
}
