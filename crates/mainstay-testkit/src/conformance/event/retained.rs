//! What a store keeps of what was: where queues begin, rewinding and history.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_core::event::store::{Opening, Published, Start, Verdict};
use mainstay_core::event::{Envelope, EventId, History, Pattern, Queue};
use mainstay_core::store::StoreError;

use super::{Backend, LONGER, dead_for, event, number, queue};
use crate::conformance::Suite;

pub(super) fn add_to(suite: Suite<Backend>) -> Suite<Backend> {
    let suite = suite
        .case(
            "a new queue may begin with the oldest retained event, also if no queue took it",
            from_the_oldest,
        )
        .case("a new queue may begin behind an event", from_behind)
        .case("a new queue that is to begin behind an unknown event begins with the oldest", from_the_unknown)
        .case("a new queue may begin at a time, by the store's calendar", from_a_time)
        .case("where an open queue is to begin is nothing to it", open_already);
    let suite = suite
        .case("a rewound queue delivers again what was done, and what was dead", rewinding)
        .case("rewinding goes back to an event or a time, and no further", rewinding_to)
        .case("rewinding loses nothing of what was queued, pending or delayed", rewinding_the_unfinished)
        .case("rewinding a queue touches no other", rewinding_one)
        .case("rewinding to now changes nothing", rewinding_to_now)
        .case("a rewound ordered queue keeps the order of subjects", rewinding_in_order)
        .case(
            "what is next of its subject goes behind what an ordered queue is rewound to",
            rewinding_the_next,
        )
        .case("a rewound queue delivers once what was redriven before", rewinding_the_redriven)
        .case("rewinding a queue that is not open is refused", rewinding_nothing);
    suite
        .case("history has every retained event, oldest first, whatever became of it", history)
        .case("history goes on behind an event, and says if that one is unknown", history_behind)
        .case("history can begin at a time", history_at)
        .case("history gives the first that its pattern takes, up to its limit", history_limit)
        .case("reading history touches no queue", history_without_effect)
        .case(
            "a publish that was refused, and one that was repeated, is not in the history",
            history_of_accepted,
        )
        .case("every field of an event survives whatever way it comes", fields)
}

impl Backend {
    async fn open_from(&self, group: &str, pattern: &str, start: Start) -> Queue {
        let queue = queue(group, pattern);
        self.store.open(&queue, Opening::from(start)).await.unwrap();
        queue
    }

    /// The store's calendar, as it stands in its dead letters; what was accepted before was so earlier, and what is
    /// accepted from now on later.
    async fn calendar(&self) -> Timestamp {
        let queue = self.open("calendar", "calendar.*").await;
        self.elapse(Duration::from_millis(20)).await;
        self.publish("calendar.read", [0]).await;
        let receipt = self.one(&queue).await;
        self.settle(&queue, receipt, dead_for("to learn the time")).await;
        let dead = self.store.dead_letters(&queue, 1).await.unwrap();
        self.store.retire(&queue).await.unwrap();
        self.elapse(Duration::from_millis(20)).await;
        dead[0].at
    }

    async fn history(&self, pattern: &str, start: Start, limit: usize) -> History {
        self.store.history(&Pattern::new(pattern).unwrap(), start, limit).await.unwrap()
    }

    /// The numbers of a history, and whether it has a gap.
    async fn told(&self, start: Start) -> (Vec<u64>, bool) {
        let History { events, gap, .. } = self.history("user.*", start, 100).await;
        (events.iter().map(|event| number(event)).collect(), gap)
    }

    /// Handles what the queue has until nothing is left, lapsed and delayed ones too.
    async fn drain(&self, queue: &Queue) -> Vec<u64> {
        let mut handled = Vec::new();
        while self.stats(queue).await.unfinished() > 0 {
            for taken in self.fetch(queue, 100).await {
                self.settle(queue, taken.receipt, Verdict::Done).await;
                handled.push(number(&taken.event));
            }
            self.elapse(LONGER / 4).await;
        }
        handled
    }
}

fn unknown() -> Start {
    Start::After(EventId::at(Timestamp::UNIX_EPOCH))
}

async fn from_the_oldest(on: Backend) {
    on.publish("user.created", [1]).await;
    on.publish("user.deleted", [2]).await;
    on.publish("user.created", [3]).await;
    let all = on.open_from("a", "user.*", Start::Oldest).await;
    let some = on.open_from("a", "user.created", Start::Oldest).await;
    assert_eq!(on.counts(&some).await, [2, 0, 0, 0]);
    on.publish("user.created", [4]).await;
    assert_eq!(on.deliveries(&all).await, [(1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(on.deliveries(&some).await, [(1, 1), (3, 1), (4, 1)]);
}

async fn from_behind(on: Backend) {
    let deleted = on.publish("user.deleted", [1]).await;
    let created = on.publish("user.created", [2, 3]).await;
    let cases = [(&deleted[0], vec![2, 3, 4]), (&created[0], vec![3, 4]), (&created[1], vec![4])];
    let mut queues = Vec::new();
    for (nth, (event, wanted)) in cases.into_iter().enumerate() {
        // Also behind an event that the pattern does not take.
        let queue = on.open_from(&format!("g{nth}"), "user.created", Start::After(event.id)).await;
        queues.push((queue, wanted));
    }
    on.publish("user.created", [4]).await;
    for (queue, wanted) in queues {
        let got: Vec<_> = on.deliveries(&queue).await.into_iter().map(|(number, _)| number).collect();
        assert_eq!(got, wanted);
    }
}

async fn from_the_unknown(on: Backend) {
    on.publish("user.created", [1, 2]).await;
    let queue = on.open_from("a", "user.*", unknown()).await;
    assert_eq!(on.deliveries(&queue).await, [(1, 1), (2, 1)], "twice is better than never");
}

async fn from_a_time(on: Backend) {
    on.publish("user.created", [1]).await;
    let time = on.calendar().await;
    on.publish("user.created", [2, 3]).await;
    let queue = on.open_from("a", "user.*", Start::At(time)).await;
    let later = on.open_from("b", "user.*", Start::At(on.calendar().await)).await;
    let all = on.open_from("c", "user.*", Start::At(Timestamp::UNIX_EPOCH)).await;
    on.publish("user.created", [4]).await;
    assert_eq!(on.deliveries(&queue).await, [(2, 1), (3, 1), (4, 1)]);
    assert_eq!(on.deliveries(&later).await, [(4, 1)]);
    assert_eq!(on.deliveries(&all).await, [(1, 1), (2, 1), (3, 1), (4, 1)]);
}

async fn open_already(on: Backend) {
    let events = on.publish("user.created", [1]).await;
    let queue = on.open("a", "user.*").await;
    for start in [Start::Oldest, Start::At(Timestamp::UNIX_EPOCH), Start::After(events[0].id), unknown()] {
        on.open_from("a", "user.*", start).await;
    }
    assert_eq!(on.counts(&queue).await, [0, 0, 0, 0]);
    on.publish("user.created", [2]).await;
    assert_eq!(on.deliveries(&queue).await, [(2, 1)]);
}

async fn rewinding(on: Backend) {
    on.publish("user.created", [1]).await;
    let queue = on.open("a", "user.created").await;
    on.publish("user.deleted", [2]).await;
    on.publish("user.created", [3, 4]).await;
    let taken = on.fetch(&queue, 10).await;
    on.settle(&queue, taken[0].receipt, Verdict::Done).await;
    on.settle(&queue, taken[1].receipt, dead_for("poison")).await;
    for _ in 0..2 {
        on.store.rewind(&queue, Start::Oldest).await.unwrap();
        assert_eq!(on.stats(&queue).await.queued, 3, "from before it was opened, too");
        let taken = on.take(&queue, &[1, 3, 4]).await;
        on.done(&queue, &taken).await;
    }
    assert_eq!(on.stats(&queue).await.unfinished(), 0);
}

async fn rewinding_to(on: Backend) {
    let queue = on.open("a", "user.*").await;
    let events = on.publish("user.created", [1]).await;
    let time = on.calendar().await;
    on.publish("user.created", [2, 3]).await;
    on.drain(&queue).await;
    on.store.rewind(&queue, Start::After(events[0].id)).await.unwrap();
    assert_eq!(on.drain(&queue).await, [2, 3]);
    on.store.rewind(&queue, Start::At(time)).await.unwrap();
    assert_eq!(on.drain(&queue).await, [2, 3]);
    on.store.rewind(&queue, unknown()).await.unwrap();
    assert_eq!(on.drain(&queue).await, [1, 2, 3]);
    on.publish("user.created", [4]).await;
    assert_eq!(on.drain(&queue).await, [4]);
}

async fn rewinding_the_unfinished(on: Backend) {
    let queue = on.open("a", "user.*").await;
    let events = on.publish("user.created", 0..4).await;
    let taken = on.fetch(&queue, 3).await;
    on.settle(&queue, taken[1].receipt, Verdict::Retry { after: LONGER }).await;
    on.settle(&queue, taken[2].receipt, Verdict::Done).await;
    // The first is pending and the second delayed, both from before; the last is queued.
    on.store.rewind(&queue, Start::After(events[1].id)).await.unwrap();
    let handled = on.drain(&queue).await;
    for event in 0..4 {
        let times = handled.iter().filter(|handled| **handled == event).count();
        assert!((1..=2).contains(&times), "{event} was handled {times} times: {handled:?}");
    }
    on.store.rewind(&queue, Start::Oldest).await.unwrap();
    assert_eq!(on.drain(&queue).await, [0, 1, 2, 3]);
}

async fn rewinding_one(on: Backend) {
    let [a, b, own] = ["a", "b", "a"].map(|group| queue(group, "user.*"));
    let own = Queue::own(own.group, own.pattern, "one".into());
    for queue in [&a, &b, &own] {
        on.store.open(queue, Opening::NOW).await.unwrap();
    }
    on.publish("user.created", [1, 2]).await;
    for queue in [&a, &b, &own] {
        assert_eq!(on.drain(queue).await, [1, 2]);
    }
    on.store.rewind(&a, Start::Oldest).await.unwrap();
    assert_eq!(on.counts(&b).await, [0, 0, 0, 0]);
    assert_eq!(on.deliveries(&b).await, []);
    assert_eq!(on.deliveries(&own).await, []);
    assert_eq!(on.deliveries(&a).await, [(1, 1), (2, 1)]);
}

async fn rewinding_to_now(on: Backend) {
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", 0..4).await;
    let taken = on.fetch(&queue, 3).await;
    on.settle(&queue, taken[0].receipt, Verdict::Done).await;
    on.settle(&queue, taken[1].receipt, Verdict::Retry { after: 100 * LONGER }).await;
    let before = on.counts(&queue).await;
    on.store.rewind(&queue, Start::Now).await.unwrap();
    assert_eq!(on.counts(&queue).await, before);
    assert_eq!(on.deliveries(&queue).await, [(3, 1)]);
}

async fn rewinding_in_order(on: Backend) {
    let queue = on.open_ordered("a").await;
    let events = on.publish_of(&[("a", 1), ("b", 2), ("a", 3), ("a", 4)]).await;
    assert_eq!(on.drain(&queue).await, [1, 2, 3, 4]);
    on.store.rewind(&queue, Start::Oldest).await.unwrap();
    let first = on.take(&queue, &[1, 2]).await;
    on.take(&queue, &[]).await;
    on.done(&queue, &first).await;
    let second = on.take(&queue, &[3]).await;
    on.done(&queue, &second).await;
    let third = on.take(&queue, &[4]).await;
    on.done(&queue, &third).await;
    // While the subject has something queued and nothing delivered.
    on.publish_of(&[("a", 5)]).await;
    on.store.rewind(&queue, Start::After(events[1].id)).await.unwrap();
    let mut handled = on.drain(&queue).await;
    handled.dedup();
    assert_eq!(handled, [3, 4, 5]);
}

async fn rewinding_the_next(on: Backend) {
    let queue = on.open_ordered("a").await;
    on.publish_of(&[("a", 1), ("a", 2), ("a", 3), ("b", 4)]).await;
    let first = on.take(&queue, &[1, 4]).await;
    // The next may go, and nobody has it.
    on.done(&queue, &first).await;
    on.store.rewind(&queue, Start::Oldest).await.unwrap();
    assert_eq!(on.counts(&queue).await, [4, 0, 0, 0]);
    for number in 1..4 {
        let next = if number == 1 { vec![1, 4] } else { vec![number] };
        let taken = on.take(&queue, &next).await;
        on.done(&queue, &taken).await;
    }
    assert_eq!(on.counts(&queue).await, [0; 4]);
}

async fn rewinding_the_redriven(on: Backend) {
    let queue = on.open("a", "user.*").await;
    let events = on.publish("user.created", [1, 2]).await;
    let poison = on.fetch(&queue, 1).await;
    on.settle(&queue, poison[0].receipt, dead_for("poison")).await;
    assert_eq!(on.store.redrive(&queue, events[0].id).await, Ok(true));
    assert_eq!(on.drain(&queue).await, [2, 1]);
    on.store.rewind(&queue, Start::Oldest).await.unwrap();
    assert_eq!(on.counts(&queue).await, [2, 0, 0, 0]);
    assert_eq!(on.drain(&queue).await, [1, 2]);
    let reader = on.open_from("b", "user.*", Start::Oldest).await;
    assert_eq!(on.counts(&reader).await, [2, 0, 0, 0]);
}

async fn rewinding_nothing(on: Backend) {
    let never = queue("a", "user.*");
    let retired = on.open("b", "user.*").await;
    on.store.retire(&retired).await.unwrap();
    for queue in [never, retired] {
        let refused = on.store.rewind(&queue, Start::Oldest).await;
        assert!(matches!(refused, Err(StoreError::Rejected { .. })), "{refused:?}");
    }
}

async fn history(on: Backend) {
    assert_eq!(on.told(Start::Oldest).await, (vec![], false));
    on.publish("user.created", [1]).await;
    let queue = on.open("a", "user.created").await;
    on.publish("user.created", [2, 3]).await;
    on.publish("user.deleted", [4]).await;
    on.publish("order.placed", [5]).await;
    let taken = on.fetch(&queue, 10).await;
    on.settle(&queue, taken[0].receipt, Verdict::Done).await;
    on.settle(&queue, taken[1].receipt, dead_for("poison")).await;
    assert_eq!(on.told(Start::Oldest).await, (vec![1, 2, 3, 4], false));
    on.store.retire(&queue).await.unwrap();
    assert_eq!(on.told(Start::Oldest).await, (vec![1, 2, 3, 4], false));
    assert_eq!(on.told(Start::Now).await, (vec![], false));
}

async fn history_behind(on: Backend) {
    let events = on.publish("user.created", 0..4).await;
    for (nth, event) in events.iter().enumerate() {
        let rest = (nth as u64 + 1..4).collect();
        assert_eq!(on.told(Start::After(event.id)).await, (rest, false));
    }
    assert_eq!(on.told(unknown()).await, (vec![0, 1, 2, 3], true));
    let nothing = on.history("order.*", unknown(), 100).await;
    assert_eq!((nothing.events, nothing.gap), (vec![], true));
}

async fn history_at(on: Backend) {
    on.publish("user.created", [1]).await;
    let time = on.calendar().await;
    on.publish("user.created", [2, 3]).await;
    assert_eq!(on.told(Start::At(time)).await, (vec![2, 3], false));
    let now = on.calendar().await;
    assert_eq!(on.told(Start::At(now)).await, (vec![], false));
    assert_eq!(on.told(Start::At(Timestamp::UNIX_EPOCH)).await.0, [1, 2, 3]);
}

async fn history_limit(on: Backend) {
    on.publish("user.deleted", [1]).await;
    on.publish("user.created", [2]).await;
    on.publish("user.deleted", [3]).await;
    on.publish("user.created", [4]).await;
    for (limit, wanted) in [(0, vec![]), (1, vec![2]), (2, vec![2, 4]), (usize::MAX, vec![2, 4])] {
        let history = on.history("user.created", Start::Oldest, limit).await;
        let got: Vec<_> = history.events.iter().map(|event| number(event)).collect();
        assert_eq!((got, history.gap), (wanted, false), "at most {limit}");
    }
    // As a reader goes through it, page by page.
    let (mut start, mut read) = (Start::Oldest, Vec::new());
    for _ in 0..5 {
        let page = on.history("user.*", start, 1).await.events;
        read.extend(page.iter().map(|event| number(event)));
        start = page.first().map_or(start, |event| Start::After(event.id));
    }
    assert_eq!(read, [1, 2, 3, 4]);
}

async fn history_without_effect(on: Backend) {
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", [1, 2]).await;
    let taken = on.fetch(&queue, 1).await;
    let before = on.counts(&queue).await;
    for start in [Start::Oldest, Start::Now, Start::At(Timestamp::UNIX_EPOCH), unknown()] {
        on.history("user.*", start, 100).await;
    }
    assert_eq!(on.counts(&queue).await, before);
    assert_eq!(on.store.stats().await.unwrap().len(), 1);
    on.done(&queue, &[taken[0].receipt]).await;
    assert_eq!(on.deliveries(&queue).await, [(2, 1)]);
}

async fn history_of_accepted(on: Backend) {
    let full = on.open("a", "user.created").await;
    let events = on.publish("user.created", 0..on.capacity as u64).await;
    assert_eq!(on.store.publish(&[event("user.created", 100)]).await, Ok(Published::Full));
    assert_eq!(on.store.publish(&events).await, Ok(Published::Accepted));
    let all: Vec<_> = (0..on.capacity as u64).collect();
    let latest = all[all.len() - on.retained.min(all.len())..].to_vec();
    let (told, _) = on.told(Start::Oldest).await;
    assert!(told.ends_with(&latest) && all.ends_with(&told), "{told:?}");
    assert_eq!(on.counts(&full).await, [on.capacity, 0, 0, 0]);
}

async fn fields(on: Backend) {
    let queue = on.open("a", "user.*").await;
    let mut rich = Envelope::clone(&event("user.created", 7));
    rich.schema = u32::MAX;
    rich.source = "a/b é".into();
    rich.subject = Some("user/7 é\n\u{1f600}".into());
    rich.trace_parent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    rich.time = "2026-01-01T00:00:00.123456Z".parse().unwrap();
    rich.content_type = "application/vnd.example+json; a=\"b\"".into();
    rich.data = vec![0, 255, b'\r', b'\n', b'\'', 0].into();
    let mut poor = Envelope::clone(&event("user.created", 8));
    poor.data = Vec::new().into();
    let events = [Arc::new(rich), Arc::new(poor)];
    on.store.publish(&events).await.unwrap();
    assert_eq!(on.history("user.*", Start::Oldest, 10).await.events, events);
    for round in 0..2 {
        let taken = on.fetch(&queue, 10).await;
        assert_eq!(taken.iter().map(|taken| Arc::clone(&taken.event)).collect::<Vec<_>>(), events);
        for taken in taken {
            on.settle(&queue, taken.receipt, dead_for("poison")).await;
        }
        let dead = on.store.dead_letters(&queue, 10).await.unwrap();
        assert_eq!(dead.iter().map(|dead| Arc::clone(&dead.event)).collect::<Vec<_>>(), events);
        for event in events.iter().filter(|_| round == 0) {
            assert_eq!(on.store.redrive(&queue, event.id).await, Ok(true));
        }
    }
    let later = on.open_from("b", "user.*", Start::Oldest).await;
    let taken = on.fetch(&later, 10).await;
    assert_eq!(taken.into_iter().map(|taken| taken.event).collect::<Vec<_>>(), events);
}
