use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::{Event, Memory, Options};
use mainstay_core::metrics::Format;
use mainstay_testkit::TestClock;
use mainstay_testkit::faulty::event::FaultyStore;
use mainstay_testkit::faulty::{Fault, Faults};

use super::{Bus, SECOND, settled, tasks};

/// A bus on a store whose answers have to be awaited.
fn far() -> (Bus, Faults) {
    let faults = Faults::none();
    let options = Options::new("users");
    let memory = Memory::new(options.memory, TestClock::new().clock());
    (Bus::on(Arc::new(FaultyStore::new(memory, faults.clone())), options), faults)
}

fn queue_length(bus: &Bus) -> Option<String> {
    let text = bus.metrics.render(Format::Prometheus);
    let line = text.lines().find(|line| line.starts_with("events_queue_length{"));
    line.map(|line| line.rsplit(' ').next().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn metrics_of_a_store_on_a_server_are_known_without_asking_it() {
    let (bus, faults) = far();
    assert_eq!((bus.events.last_stats(), queue_length(&bus)), (None, None));
    let subscription = bus.events.subscribe("user.*", |_: Event<u32>| async {}).await.unwrap();
    subscription.stop(SECOND).await.unwrap();
    bus.events.publish("user.created", &1).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(queue_length(&bus).as_deref(), Some("1"));
    bus.events.publish("user.created", &2).await.unwrap();
    faults.always(Fault::Hang);
    let calls = faults.calls();
    assert_eq!(queue_length(&bus).as_deref(), Some("1"), "as it was");
    assert_eq!(bus.events.last_stats().unwrap().queues[0].queued, 1);
    assert_eq!(faults.calls(), calls);
    faults.mend();
    tokio::time::sleep(16 * SECOND).await;
    assert_eq!(queue_length(&bus).as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_store_that_is_away_is_shown_for_a_minute() {
    let (bus, faults) = far();
    let subscription = bus.events.subscribe("user.*", |_: Event<u32>| async {}).await.unwrap();
    subscription.stop(SECOND).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    faults.always(Fault::Unavailable);
    tokio::time::sleep(50 * SECOND).await;
    assert!(bus.events.last_stats().is_some_and(|last| last.age >= 50 * SECOND));
    tokio::time::sleep(15 * SECOND).await;
    assert_eq!((bus.events.last_stats(), queue_length(&bus)), (None, None));
    faults.mend();
    tokio::time::sleep(16 * SECOND).await;
    assert_eq!(queue_length(&bus).as_deref(), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn counting_ends_with_the_handle() {
    for stops in [true, false] {
        let (bus, faults) = far();
        bus.events.publish("user.created", &1).await.unwrap();
        settled().await;
        assert_eq!(tasks(), 1);
        // In the middle of a question.
        faults.delay(Duration::from_millis(400));
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        if stops {
            bus.events.stop(SECOND).await.unwrap();
        } else {
            drop(bus.events);
            settled().await;
        }
        assert_eq!(tasks(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_in_this_process_is_looked_at_directly() {
    let bus = Bus::new();
    let subscription = bus.events.subscribe("user.*", |_: Event<u32>| async {}).await.unwrap();
    subscription.stop(SECOND).await.unwrap();
    bus.events.publish("user.created", &1).await.unwrap();
    let last = bus.events.last_stats().unwrap();
    assert_eq!((last.queues[0].queued, last.age, tasks()), (1, Duration::ZERO, 0));
}
