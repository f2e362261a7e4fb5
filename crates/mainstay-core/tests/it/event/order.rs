use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::backoff::Backoff;
use mainstay_core::event::{Error, Event, Events, Memory, Options, Outcome, Start, Store};
use mainstay_core::metrics::Metrics;
use mainstay_testkit::faulty::Faults;
use mainstay_testkit::faulty::event::FaultyStore;
use mainstay_testkit::{Seed, TestClock};

use super::{Bus, SECOND, settled};
use crate::log::Log;

/// A handler that writes down the numbers it gets.
fn noting(log: &Log) -> impl Fn(Event<u32>) -> std::future::Ready<()> + Send + Sync + 'static {
    let log = log.clone();
    move |event| {
        log.push(event.data.to_string());
        std::future::ready(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_event_holds_up_its_subject_until_it_is_dead_and_no_other() {
    let bus = Bus::new();
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        seen.push(format!("{} {}", event.subject.as_deref().unwrap(), event.data));
        async move { if event.data == 1 { Err("poison") } else { Ok(()) } }
    };
    let retries = Backoff::new(SECOND, SECOND);
    bus.events.on("user.*").ordered().retries(retries, 3).handle(handler).await.unwrap();
    for (subject, number) in [("a", 1), ("a", 2), ("b", 3), ("b", 4)] {
        bus.events.event("user.created").subject(subject).publish(&number).await.unwrap();
    }
    settled().await;
    assert_eq!(log.entries(), ["a 1", "b 3", "b 4"]);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(log.entries()[3..], ["a 1", "a 1", "a 2"]);
    let [letter] = <[_; 1]>::try_from(bus.events.dead_letters(10).await.unwrap()).unwrap();
    assert_eq!(&*letter.cause, "poison");
}

#[tokio::test(start_paused = true)]
async fn a_poison_event_does_not_stop_the_others() {
    let bus = Bus::new();
    let log = Log::default();
    let seen = log.clone();
    let handler = move |event: Event<u32>| {
        let seen = seen.clone();
        async move {
            if event.data == 0 {
                return Err("poison");
            }
            seen.push(event.data.to_string());
            Ok(())
        }
    };
    bus.events.on("user.*").concurrency(1).handle(handler).await.unwrap();
    bus.events.publish_all("user.created", &(0..100).collect::<Vec<_>>()).await.unwrap();
    settled().await;
    assert_eq!(log.entries().len(), 99, "all others, before its second attempt");
    tokio::time::sleep(300 * SECOND).await;
    let letters = bus.events.dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].attempts, &*letters[0].cause), (5, "poison"));
}

#[tokio::test(start_paused = true)]
async fn all_subscriptions_of_a_group_agree_on_its_order() {
    let bus = Bus::new();
    let log = Log::default();
    bus.events.on("user.*").ordered().handle(noting(&log)).await.unwrap();
    let refused = bus.events.on("user.*").handle(noting(&log)).await.unwrap_err();
    assert!(
        matches!(refused, Error::Unavailable(_)) && refused.to_string().contains("is ordered"),
        "{refused}"
    );
    bus.events.on("user.*").ordered().handle(noting(&log)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_group_begins_where_it_is_told_to_and_can_be_taken_back() {
    let bus = Bus::new();
    bus.events.publish_all("user.created", &[1, 2, 3]).await.unwrap();
    let log = Log::default();
    bus.events.on("user.*").group("now").handle(noting(&log)).await.unwrap();
    settled().await;
    assert!(log.entries().is_empty());
    let subscription = bus
        .events
        .on("user.*")
        .group("all")
        .from(Start::Oldest)
        .concurrency(1)
        .handle(noting(&log))
        .await
        .unwrap();
    settled().await;
    assert_eq!(log.entries(), ["1", "2", "3"]);
    let history = bus.events.history("user.*", Start::Oldest, 2).await.unwrap();
    bus.events.rewind(subscription.queue(), Start::After(history.events[1].id)).await.unwrap();
    settled().await;
    assert_eq!(log.entries()[3..], ["3"]);
    let refused = bus.events.history("*", Start::Oldest, 1).await.unwrap_err();
    assert!(matches!(refused, Error::Kind(_)), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_schema_that_nobody_here_reads_is_kept_for_a_later_release() {
    let bus = Bus::new();
    let log = Log::default();
    let subscription = bus.events.on("user.*").schemas(1..=2).handle(noting(&log)).await.unwrap();
    for schema in [1, 2, 3] {
        bus.events.event("user.created").schema(schema).publish(&schema).await.unwrap();
    }
    settled().await;
    assert_eq!(log.entries(), ["1", "2"]);
    let [letter] = <[_; 1]>::try_from(bus.events.dead_letters(10).await.unwrap()).unwrap();
    assert_eq!((letter.attempts, &*letter.cause), (1, "schema 3 is not one of 1 to 2"));
    subscription.stop(SECOND).await.unwrap();
    let seen = log.clone();
    let later = move |event: Event<u32>| {
        seen.push(format!("{} of schema {}", event.data, event.schema));
        async {}
    };
    bus.events.on("user.*").schemas(1..=3).handle(later).await.unwrap();
    assert!(bus.events.redrive(&letter.id).await.unwrap());
    settled().await;
    assert_eq!(log.entries()[2..], ["3 of schema 3"]);
    #[expect(clippy::reversed_empty_ranges, reason = "that is the point")]
    let refused = bus.events.on("user.*").schemas(2..=1).handle(noting(&log)).await.unwrap_err();
    assert!(matches!(refused, Error::Option { field: "schemas", .. }), "{refused}");
    let refused = bus.events.event("user.created").schema(0).publish(&1).await.unwrap_err();
    assert!(matches!(refused, Error::Option { field: "schema", .. }), "{refused}");
}

/// Three instances of a service that come and go, over a store that fails: of each subject the first deliveries are in
/// the order of publication, and nothing begins before the one before has ended.
#[tokio::test(start_paused = true)]
async fn no_event_of_a_subject_overtakes_another_whoever_comes_and_goes() {
    const EVENTS: u32 = 300;
    const SUBJECTS: u32 = 10;
    let mut random = Seed::from_env("MAINSTAY_SEED").rng();
    let memory = Memory::new(Options::default().memory, TestClock::new().clock());
    let faults = Faults::none();
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(memory, faults.clone()));
    let ended: Arc<Mutex<HashMap<String, Vec<u32>>>> = Arc::default();
    let instance = || {
        let mut options = Options::new("users");
        options.visibility = 5 * SECOND;
        options.stats_period = Duration::ZERO;
        Events::new(Arc::clone(&store), options, &Metrics::new(), TestClock::new().clock())
    };
    let publisher = instance();
    let mut instances: Vec<Events> = Vec::new();
    for number in 0..EVENTS {
        if number % 20 == 0 {
            faults.mend();
            if instances.len() == 3 {
                // Some stop, and some are dropped at work: their handlers end with them.
                let gone = instances.remove(0);
                if random.chance(0.5) {
                    gone.stop(SECOND).await.ok();
                }
            }
            let events = instance();
            let ended = Arc::clone(&ended);
            let handler = move |event: Event<u32>| {
                let ended = Arc::clone(&ended);
                async move {
                    tokio::time::sleep(Duration::from_millis(u64::from(event.data * 37 % 50))).await;
                    if event.data.is_multiple_of(7) && event.attempt < 3 {
                        return Outcome::Retry { after: None };
                    }
                    let mut ended = ended.lock().unwrap();
                    let subject = ended.entry(event.subject.unwrap()).or_default();
                    // A second delivery of one whose end was not told is no overtaking.
                    if !subject.contains(&event.data) {
                        subject.push(event.data);
                    }
                    Outcome::Done
                }
            };
            let subscribe =
                events.on("user.*").group("all").ordered().retries(Options::default().backoff, 1_000);
            subscribe.handle(handler).await.unwrap();
            instances.push(events);
            faults.random(Seed::from_env("MAINSTAY_SEED"), 0.1);
        }
        let subject = format!("s{}", number % SUBJECTS);
        let id = mainstay_core::event::EventId::at(jiff::Timestamp::UNIX_EPOCH);
        let publish = || publisher.event("user.created").subject(&*subject).id(id).publish(&number);
        while publish().await.is_err() {}
        tokio::time::sleep(Duration::from_millis(random.below(60))).await;
    }
    faults.mend();
    tokio::time::sleep(600 * SECOND).await;
    let ended = ended.lock().unwrap();
    for subject in 0..SUBJECTS {
        let wanted: Vec<_> = (0..EVENTS).filter(|number| number % SUBJECTS == subject).collect();
        assert_eq!(ended[&format!("s{subject}")], wanted);
    }
}
