use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::{Error, EventId, Events, Item, Memory, Options, Reader};
use mainstay_testkit::faulty::event::FaultyStore;
use mainstay_testkit::faulty::{Fault, Faults};
use mainstay_testkit::{Seed, TestClock};

use super::{Bus, SECOND, settled, tasks};

/// What a reader gets next, within an hour: a number, or `None` for a gap.
async fn next(reader: &mut Reader) -> Option<u32> {
    let item = tokio::time::timeout(3_600 * SECOND, reader.next()).await.expect("something comes");
    match item.expect("the feed goes on") {
        Item::Event(event) => Some(serde_json::from_slice(&event.data).unwrap()),
        Item::Gap => None,
        other => panic!("{other:?}"),
    }
}

async fn expect(reader: &mut Reader, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        assert_eq!(next(reader).await, Some(number));
    }
}

async fn is_silent(reader: &mut Reader) {
    let more = tokio::time::timeout(100 * SECOND, reader.next()).await;
    assert!(more.is_err(), "nothing more comes: {more:?}");
}

async fn publish(events: &Events, numbers: impl IntoIterator<Item = u32>) -> Vec<EventId> {
    let numbers: Vec<_> = numbers.into_iter().collect();
    events.publish_all("user.created", &numbers).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_reader_gets_what_is_published_from_when_it_began_once_and_in_order() {
    let bus = Bus::new();
    let feed = bus.events.feed("user.*").await.unwrap();
    let mut first = feed.read(None);
    publish(&bus.events, 0..3).await;
    expect(&mut first, 0..3).await;
    let mut second = bus.events.feed("user.*").await.unwrap().read(None);
    publish(&bus.events, 3..6).await;
    bus.events.publish("order.placed", &100).await.unwrap();
    expect(&mut first, 3..6).await;
    expect(&mut second, 3..6).await;
    is_silent(&mut first).await;
    is_silent(&mut second).await;
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_pattern_share_one_subscription_which_ends_with_the_last_of_them() {
    let bus = Bus::new();
    let (one, two) = tokio::join!(bus.events.feed("user.*"), bus.events.feed("user.*"));
    let mut readers: Vec<_> = (0..10).map(|_| one.as_ref().unwrap().read(None)).collect();
    drop((one, two));
    assert_eq!(bus.store.stats().await.unwrap().len(), 1);
    bus.events.feed("user.created").await.unwrap();
    settled().await;
    let reader = readers.pop().unwrap();
    drop(readers);
    settled().await;
    assert_eq!(bus.only_queue().await.queue.pattern.as_str(), "user.*");
    drop(reader);
    settled().await;
    assert_eq!((bus.store.stats().await.unwrap(), tasks()), (vec![], 0));
    let mut again = bus.events.feed("user.*").await.unwrap().read(None);
    publish(&bus.events, [1]).await;
    expect(&mut again, [1]).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_goes_on_behind_the_event_it_names() {
    let bus = Bus::new();
    let early = publish(&bus.events, 0..600).await;
    let feed = bus.events.feed("user.*").await.unwrap();
    publish(&bus.events, 600..605).await;
    let mut readers = [0, 299, 599].map(|seen| (seen + 1, feed.read(Some(early[seen as usize]))));
    publish(&bus.events, 605..610).await;
    for (next, reader) in &mut readers {
        expect(reader, *next..610).await;
    }
    publish(&bus.events, 610..620).await;
    for (_, reader) in &mut readers {
        expect(reader, 610..620).await;
        is_silent(reader).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_place_is_forgotten_is_told_and_begins_with_the_oldest() {
    let bus = Bus::new();
    let feed = bus.events.feed("user.*").await.unwrap();
    let unknown = EventId::at("2020-02-02T02:02:02Z".parse().unwrap());
    let mut early = feed.read(Some(unknown));
    assert_eq!(next(&mut early).await, None);
    publish(&bus.events, 0..3).await;
    expect(&mut early, 0..3).await;
    let mut late = feed.read(Some(unknown));
    assert_eq!(next(&mut late).await, None);
    publish(&bus.events, 3..6).await;
    expect(&mut late, 0..6).await;
    expect(&mut early, 3..6).await;
    is_silent(&mut late).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_falls_back_reads_the_history_and_is_told_what_is_not_retained() {
    for (retained, has_gap) in [(10_000, false), (50, true)] {
        let mut options = Options::new("users");
        options.memory.retained = retained;
        let bus = Bus::with(options);
        let mut reader = bus.events.feed("user.*").await.unwrap().read(None);
        publish(&bus.events, 0..1).await;
        expect(&mut reader, 0..1).await;
        for batch in 0..50 {
            publish(&bus.events, 1 + batch * 100..101 + batch * 100).await;
            settled().await;
        }
        let first = if has_gap {
            assert_eq!(next(&mut reader).await, None);
            4_951
        } else {
            1
        };
        expect(&mut reader, first..5_001).await;
        publish(&bus.events, 5_001..5_010).await;
        expect(&mut reader, 5_001..5_010).await;
        is_silent(&mut reader).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_has_read_nothing_is_told_if_it_may_have_missed_something() {
    let bus = Bus::new();
    let mut reader = bus.events.feed("user.*").await.unwrap().read(None);
    for batch in 0..30 {
        publish(&bus.events, batch * 100..batch * 100 + 100).await;
        settled().await;
    }
    assert_eq!(next(&mut reader).await, None);
    let first = next(&mut reader).await.unwrap();
    expect(&mut reader, first + 1..3_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_feed_whose_queue_the_store_has_forgotten_goes_on_without_a_gap() {
    let bus = Bus::new();
    let mut reader = bus.events.feed("user.*").await.unwrap().read(None);
    publish(&bus.events, 0..3).await;
    expect(&mut reader, 0..3).await;
    let queue = bus.only_queue().await.queue;
    bus.store.retire(&queue).await.unwrap();
    publish(&bus.events, 3..6).await;
    tokio::time::sleep(10 * SECOND).await;
    publish(&bus.events, 6..9).await;
    expect(&mut reader, 3..9).await;
    is_silent(&mut reader).await;
}

#[tokio::test(start_paused = true)]
async fn a_feed_ends_with_its_handle() {
    for stops in [true, false] {
        let bus = Bus::new();
        let feed = bus.events.feed("user.*").await.unwrap();
        let mut reader = feed.read(None);
        let seen = publish(&bus.events, [1]).await;
        settled().await;
        if stops {
            assert_eq!(bus.events.stop(SECOND).await, Ok(()), "what a feed has not read is nobody's");
            assert!(matches!(bus.events.feed("user.*").await, Err(Error::Stopped)));
        }
        drop(bus.events);
        settled().await;
        expect(&mut reader, [1]).await;
        assert_eq!(reader.next().await, None);
        assert_eq!(feed.read(None).next().await, None);
        assert_eq!(feed.read(Some(seen[0])).next().await, None);
        assert_eq!((bus.store.stats().await.unwrap(), tasks()), (vec![], 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_does_not_begin_leaves_nothing_behind() {
    let faults = Faults::none();
    let mut options = Options::new("users");
    options.stats_period = Duration::ZERO;
    let memory = Memory::new(options.memory, TestClock::new().clock());
    let bus = Bus::on(Arc::new(FaultyStore::new(memory, faults.clone())), options);
    for fault in [Fault::Unavailable, Fault::LostReply, Fault::Hang] {
        faults.next(1, fault);
        let refused = bus.events.feed("user.*").await;
        assert!(matches!(refused, Err(Error::Unavailable(_) | Error::Unknown { .. })), "{refused:?}");
        settled().await;
    }
    faults.delay(100 * Duration::from_millis(1));
    let impatient = tokio::time::timeout(Duration::from_millis(50), bus.events.feed("user.*")).await;
    assert!(impatient.is_err());
    tokio::time::sleep(SECOND).await;
    assert_eq!((bus.store.stats().await.unwrap(), tasks()), (vec![], 0));
}

/// Whatever goes wrong between a process and its store, and wherever readers begin: each gets what follows, once and in
/// order.
#[tokio::test(start_paused = true)]
async fn no_reader_misses_or_repeats_an_event_whatever_goes_wrong_on_the_way() {
    let mut random = Seed::from_env("MAINSTAY_SEED").rng();
    for _ in 0..20 {
        let faults = Faults::none();
        let mut options = Options::new("users");
        options.visibility = SECOND;
        let memory = Memory::new(options.memory, TestClock::new().clock());
        let bus = Bus::on(Arc::new(FaultyStore::new(memory, faults.clone())), options);
        let other = Events::clone(&bus.events);
        let mut ids = publish(&other, [0]).await;
        let feed = bus.events.feed("user.*").await.unwrap();
        let mut readers = vec![(1, feed.read(Some(ids[0])))];
        for number in 1..80 {
            match random.below(10) {
                0 => faults.next(*random.pick(&[1, 2, 3]), Fault::LostReply),
                1 => faults.next(*random.pick(&[1, 2, 3]), Fault::LostRequest),
                2 => faults.next(*random.pick(&[1, 2, 3]), Fault::Unavailable),
                3 => faults.delay(Duration::from_millis(random.below(300))),
                _ => {}
            }
            let id = EventId::at(jiff::Timestamp::UNIX_EPOCH);
            while other.event("user.created").id(id).publish(&number).await.is_err() {}
            ids.push(id);
            if random.chance(0.2) {
                let all: Vec<_> = (1..).zip(&ids).collect();
                let (next, seen) = *random.pick(&all);
                readers.push((next, feed.read(Some(*seen))));
            }
            random.shuffle(&mut readers);
            let (wanted, reader) = &mut readers[0];
            while *wanted <= number && random.chance(0.8) {
                expect(reader, [*wanted]).await;
                *wanted += 1;
            }
            tokio::time::sleep(Duration::from_millis(random.below(200))).await;
        }
        faults.mend();
        for (wanted, reader) in &mut readers {
            expect(reader, *wanted..80).await;
            is_silent(reader).await;
        }
    }
}
