//! The contract of `mainstay_core::event`.
#![allow(clippy::unwrap_used, reason = "a case fails by panicking")]

mod order;
mod retained;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use mainstay_core::codec::Codec;
use mainstay_core::event::store::{
    Delivery, Fetch, Opening, Published, QueueStats, Receipt, Standing, Start, Store, Verdict,
};
use mainstay_core::event::{Envelope, EventId, Kind, Pattern, Queue};
use mainstay_core::store::StoreError;

use super::{Elapse, Suite};

/// What a case is run on: a store without queues, and a way to let time pass.
pub struct Backend {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Most events a queue of this store takes: at least 4, and few enough to fill one.
    pub capacity: usize,
    /// How many of the latest events of a topic this store retains at least, done or not: at least 4.
    pub retained: usize,
    /// Lets this much of the store's time pass.
    pub elapse: Elapse,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").field("store", &self.store).finish_non_exhaustive()
    }
}

/// How long a receipt stands, unless a case says otherwise. Long for a machine, short for who waits.
const VISIBILITY: Duration = Duration::from_millis(400);

/// More than [`VISIBILITY`], so that a slow answer does not matter.
const LONGER: Duration = Duration::from_millis(600);

/// The cases.
#[must_use]
pub fn suite() -> Suite<Backend> {
    retained::add_to(order::add_to(plain()))
}

fn plain() -> Suite<Backend> {
    let suite = Suite::new("the contract of event stores")
        .case(
            "an event goes to every open queue whose pattern takes its type, and arrives unchanged",
            routing,
        )
        .case("a queue delivers new events in the order of publication", order)
        .case(
            "a queue takes what is published after it was opened; opening it again changes nothing",
            opening,
        )
        .case("an event that no queue takes is accepted, and no later queue takes it unasked", nobody)
        .case("consumers of a queue share its events", sharing)
        .case("a fetch delivers no more than its credits", credits)
        .case("publishing again under the same id is publishing once", dedup)
        .case("a full queue refuses the whole publish for every queue, until there is room", back_pressure)
        .case("however many publish at once, a queue takes no more than it has room for", many_at_once);
    let suite = suite
        .case("a receipt that was settled does not stand any more", settled)
        .case("a receipt does not stand any more once its event was delivered again", stale)
        .case("an event whose receipt lapsed is delivered again, as the next attempt, and not before", lapse)
        .case("a lapsed receipt stands until its event is delivered again", late)
        .case("an extended receipt stands longer, and is no new delivery", extending)
        .case("a retry is delivered at its time, as the next attempt, before what is new", retrying)
        .case("a verdict in one queue does not touch another", separate);
    suite
        .case("an event is in one state of each queue at every step", states)
        .case("a waiting fetch gets what is published meanwhile", waiting)
        .case("a waiting fetch gets what becomes due meanwhile", waiting_for_due)
        .case("a fetch that finds nothing answers with nothing after its wait", waiting_in_vain)
        .case("a fetch that was dropped loses nothing", dropped_fetch)
        .case("the longest times and the largest numbers there are mean for ever and all", without_bound)
        .case("a dead letter keeps its event, its attempts and its cause", dead)
        .case(
            "a redriven dead letter is delivered once more, in its queue alone, from the first attempt",
            redriving,
        )
        .case("an event that dies twice is one dead letter, its last", dead_again)
        .case("a retired queue is gone with everything in it, and no other", retiring)
        .case("a receipt does not outlive its queue, even if it is opened again", reopened)
        .case("a queue that is not open is refused, not made up", unknown)
}

impl Backend {
    async fn elapse(&self, time: Duration) {
        self.elapse.by(time).await;
    }

    async fn open(&self, group: &str, pattern: &str) -> Queue {
        let queue = queue(group, pattern);
        self.store.open(&queue, Opening::NOW).await.unwrap();
        queue
    }

    /// Publishes events with these numbers.
    async fn publish(&self, kind: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<Arc<Envelope>> {
        let events: Vec<_> = numbers.into_iter().map(|number| event(kind, number)).collect();
        assert_eq!(self.store.publish(&events).await, Ok(Published::Accepted));
        events
    }

    async fn fetch(&self, queue: &Queue, credits: usize) -> Vec<Delivery> {
        self.store.fetch(queue, want(credits, Duration::ZERO)).await.unwrap()
    }

    /// The numbers and attempts of what is there.
    async fn deliveries(&self, queue: &Queue) -> Vec<(u64, u32)> {
        self.fetch(queue, 100)
            .await
            .iter()
            .map(|delivery| (number(&delivery.event), attempt(delivery)))
            .collect()
    }

    /// The one delivery that is there.
    async fn one(&self, queue: &Queue) -> Receipt {
        let [delivery] = <[_; 1]>::try_from(self.fetch(queue, 100).await).expect("one event is there");
        delivery.receipt
    }

    async fn settle(&self, queue: &Queue, receipt: Receipt, verdict: Verdict) -> Standing {
        self.store.settle(queue, receipt, verdict).await.unwrap()
    }

    async fn stats(&self, queue: &Queue) -> QueueStats {
        let stats = self.store.stats().await.unwrap();
        stats.into_iter().find(|stats| stats.queue == *queue).expect("the queue is open")
    }

    /// Queued, pending, delayed and dead.
    async fn counts(&self, queue: &Queue) -> [usize; 4] {
        let QueueStats { queued, pending, delayed, dead, .. } = self.stats(queue).await;
        [queued, pending, delayed, dead]
    }
}

fn queue(group: &str, pattern: &str) -> Queue {
    Queue::shared(group.into(), Pattern::new(pattern).unwrap())
}

/// An event whose number can be read from it.
fn event(kind: &str, number: u64) -> Arc<Envelope> {
    let time = jiff::Timestamp::UNIX_EPOCH;
    let data = Codec::Json.encode(&number).unwrap();
    let kind = Kind::new(kind).unwrap();
    Arc::new(Envelope::new(EventId::at(time), "suite".into(), kind, time, Codec::Json, data))
}

fn number(event: &Envelope) -> u64 {
    Codec::Json.decode(&event.data).unwrap()
}

fn attempt(delivery: &Delivery) -> u32 {
    delivery.receipt.attempt
}

fn want<'a>(credits: usize, wait: Duration) -> Fetch<'a> {
    Fetch { consumer: "suite-0", credits, visibility: VISIBILITY, wait }
}

fn dead_for(cause: &str) -> Verdict {
    Verdict::Dead { cause: cause.to_owned() }
}

const AT_ONCE: Verdict = Verdict::Retry { after: Duration::ZERO };

async fn routing(on: Backend) {
    let queues = [
        on.open("a", "user.created").await,
        on.open("a", "user.*").await,
        on.open("b", "user.created").await,
        on.open("b", "user.deleted").await,
        on.open("b", "order.*").await,
    ];
    let own = Queue::own("a".into(), Pattern::new("user.*").unwrap(), "one".into());
    on.store.open(&own, Opening::NOW).await.unwrap();
    let mut rich = Envelope::clone(&event("user.created", 7));
    rich.subject = Some("user/7 é".into());
    rich.trace_parent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    rich.time = "2026-01-01T00:00:00.123456Z".parse().unwrap();
    let rich = Arc::new(rich);
    on.store.publish(std::slice::from_ref(&rich)).await.unwrap();
    for (queue, takes) in queues.iter().chain([&own]).zip([true, true, true, false, false, true]) {
        let got: Vec<_> = on.fetch(queue, 10).await.into_iter().map(|delivery| delivery.event).collect();
        let wanted = if takes { vec![Arc::clone(&rich)] } else { Vec::new() };
        assert_eq!(got, wanted, "{queue}");
    }
}

async fn order(on: Backend) {
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", [1, 2]).await;
    on.publish("user.deleted", [3]).await;
    on.publish("user.created", [4]).await;
    assert_eq!(on.deliveries(&queue).await, [(1, 1), (2, 1), (3, 1), (4, 1)]);
}

async fn opening(on: Backend) {
    let other = on.open("b", "user.*").await;
    on.publish("user.created", [1]).await;
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", [2, 3]).await;
    let taken = on.fetch(&queue, 1).await;
    on.store.open(&queue, Opening::NOW).await.unwrap();
    assert_eq!(number(&taken[0].event), 2, "from when it was opened on");
    assert_eq!(on.deliveries(&queue).await, [(3, 1)]);
    assert_eq!(on.settle(&queue, taken[0].receipt, Verdict::Done).await, Standing::Held);
    assert_eq!(on.deliveries(&other).await.len(), 3);
}

async fn nobody(on: Backend) {
    on.publish("user.created", [1]).await;
    assert_eq!(on.store.publish(&[]).await, Ok(Published::Accepted));
    let queue = on.open("a", "order.*").await;
    on.publish("user.created", [2]).await;
    assert_eq!(on.counts(&queue).await, [0, 0, 0, 0]);
}

async fn sharing(on: Backend) {
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", 0..4).await;
    let mut got = Vec::new();
    for consumer in ["one", "two", "one", "two", "one"] {
        let want = Fetch { consumer, ..want(1, Duration::ZERO) };
        got.extend(
            on.store.fetch(&queue, want).await.unwrap().iter().map(|delivery| number(&delivery.event)),
        );
    }
    assert_eq!(got, [0, 1, 2, 3]);
}

async fn credits(on: Backend) {
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", 0..4).await;
    assert!(on.fetch(&queue, 0).await.is_empty());
    assert_eq!(on.fetch(&queue, 3).await.len(), 3);
    on.elapse(LONGER).await;
    assert_eq!(on.fetch(&queue, 2).await.len(), 2, "of those that are due again");
    assert_eq!(on.fetch(&queue, 100).await.len(), 2);
}

async fn dedup(on: Backend) {
    let queue = on.open("a", "user.*").await;
    let events = on.publish("user.created", [1]).await;
    on.store.publish(&events).await.unwrap();
    let receipt = on.one(&queue).await;
    on.store.publish(&events).await.unwrap();
    assert_eq!(on.counts(&queue).await, [0, 1, 0, 0]);
    on.settle(&queue, receipt, Verdict::Done).await;
    assert_eq!(on.store.publish(&events).await, Ok(Published::Accepted));
    let mixed = [Arc::clone(&events[0]), event("user.created", 2)];
    on.store.publish(&mixed).await.unwrap();
    assert_eq!(on.deliveries(&queue).await, [(2, 1)]);
}

async fn back_pressure(on: Backend) {
    let full = on.open("a", "user.*").await;
    let roomy = on.open("b", "user.deleted").await;
    let filling = on.publish("user.created", 0..on.capacity as u64 - 1).await;
    let two = [event("user.deleted", 100), event("user.deleted", 101)];
    assert_eq!(on.store.publish(&two).await, Ok(Published::Full));
    assert_eq!(on.counts(&roomy).await, [0, 0, 0, 0], "none of them anywhere");
    assert_eq!(on.counts(&full).await, [on.capacity - 1, 0, 0, 0], "nothing made room");
    assert_eq!(
        on.store.publish(&filling).await,
        Ok(Published::Accepted),
        "what is there already needs no room"
    );
    on.publish("user.deleted", [102]).await;
    let last = [event("user.created", 103)];
    assert_eq!(on.store.publish(&last).await, Ok(Published::Full));
    let taken = on.fetch(&full, 1).await;
    assert_eq!(on.store.publish(&last).await, Ok(Published::Full), "pending events need their room");
    on.settle(&full, taken[0].receipt, Verdict::Done).await;
    assert_eq!(on.store.publish(&last).await, Ok(Published::Accepted));
    assert_eq!(on.counts(&full).await, [on.capacity, 0, 0, 0]);
    assert_eq!(on.deliveries(&roomy).await, [(102, 1)]);
}

async fn many_at_once(on: Backend) {
    let (full, roomy) = (on.open("a", "user.*").await, on.open("b", "user.deleted").await);
    let publishers = (0..4 * on.capacity as u64).map(|number| {
        let store = &on.store;
        let kind = if number % 2 == 0 { "user.created" } else { "user.deleted" };
        async move { (number, store.publish(&[event(kind, number)]).await) }
    });
    let mut accepted = Vec::new();
    for (number, published) in join_all(publishers).await {
        match published.unwrap() {
            Published::Accepted => accepted.push(number),
            Published::Full => {}
        }
    }
    assert_eq!(accepted.len(), on.capacity, "as many as there was room for");
    let numbers = |mut deliveries: Vec<(u64, u32)>| {
        deliveries.sort_unstable();
        deliveries.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(on.deliveries(&full).await), accepted);
    accepted.retain(|number| number % 2 == 1);
    assert_eq!(numbers(on.deliveries(&roomy).await), accepted);
}

async fn settled(on: Backend) {
    let queue = on.open("a", "user.*").await;
    for verdict in [Verdict::Done, AT_ONCE, Verdict::Retry { after: LONGER }, dead_for("poison")] {
        on.publish("user.created", [1]).await;
        let receipt = on.one(&queue).await;
        assert_eq!(on.settle(&queue, receipt, verdict.clone()).await, Standing::Held);
        let after = on.counts(&queue).await;
        for again in [Verdict::Done, AT_ONCE, dead_for("again")] {
            assert_eq!(on.settle(&queue, receipt, again).await, Standing::Gone, "after {verdict:?}");
        }
        assert_eq!(on.store.extend(&queue, receipt, VISIBILITY).await, Ok(Standing::Gone));
        assert_eq!(on.counts(&queue).await, after, "a receipt that is gone changes nothing");
        on.store.retire(&queue).await.unwrap();
        on.open("a", "user.*").await;
    }
}

async fn stale(on: Backend) {
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", [1]).await;
    let first = on.one(&queue).await;
    on.elapse(LONGER).await;
    let second = on.one(&queue).await;
    for verdict in [Verdict::Done, AT_ONCE, dead_for("stale")] {
        assert_eq!(on.settle(&queue, first, verdict).await, Standing::Gone);
    }
    assert_eq!(on.store.extend(&queue, first, VISIBILITY).await, Ok(Standing::Gone));
    assert_eq!(on.counts(&queue).await, [0, 1, 0, 0]);
    assert_eq!(on.settle(&queue, second, Verdict::Done).await, Standing::Held);
}

async fn lapse(on: Backend) {
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", [1]).await;
    for attempt in 1..4 {
        assert_eq!(on.deliveries(&queue).await, [(1, attempt)]);
        assert_eq!(on.deliveries(&queue).await, [], "somebody has it");
        on.elapse(LONGER).await;
    }
}

async fn late(on: Backend) {
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", [1]).await;
    let receipt = on.one(&queue).await;
    on.elapse(LONGER).await;
    assert_eq!(on.settle(&queue, receipt, Verdict::Done).await, Standing::Held);
    assert_eq!(on.deliveries(&queue).await, []);
}

async fn extending(on: Backend) {
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", [1]).await;
    let receipt = on.one(&queue).await;
    for _ in 0..3 {
        on.elapse(VISIBILITY / 2).await;
        assert_eq!(on.store.extend(&queue, receipt, VISIBILITY).await, Ok(Standing::Held));
        assert_eq!(on.deliveries(&queue).await, []);
    }
    on.elapse(LONGER).await;
    assert_eq!(on.deliveries(&queue).await, [(1, 2)], "no longer than the last sign");
}

async fn retrying(on: Backend) {
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", [1]).await;
    let receipt = on.one(&queue).await;
    on.settle(&queue, receipt, Verdict::Retry { after: VISIBILITY }).await;
    on.publish("user.created", [2]).await;
    assert_eq!(on.counts(&queue).await, [1, 0, 1, 0]);
    let new = on.one(&queue).await;
    on.settle(&queue, new, Verdict::Done).await;
    on.publish("user.created", [3]).await;
    on.elapse(LONGER).await;
    assert_eq!(on.deliveries(&queue).await, [(1, 2), (3, 1)]);
    // Longer than any receipt stands, and than any clock counts.
    on.publish("user.created", [4]).await;
    let receipt = on.one(&queue).await;
    on.settle(&queue, receipt, Verdict::Retry { after: Duration::MAX }).await;
    assert_eq!(on.counts(&queue).await, [0, 2, 1, 0]);
}

async fn separate(on: Backend) {
    let [a, b] = [on.open("a", "user.*").await, on.open("b", "user.*").await];
    on.publish("user.created", [1, 2]).await;
    let of_a = on.fetch(&a, 10).await;
    on.settle(&a, of_a[0].receipt, Verdict::Done).await;
    on.settle(&a, of_a[1].receipt, dead_for("poison")).await;
    assert_eq!(on.counts(&a).await, [0, 0, 0, 1]);
    assert_eq!(on.counts(&b).await, [2, 0, 0, 0]);
}

async fn states(on: Backend) {
    let queue = on.open("a", "user.*").await;
    assert_eq!(on.stats(&queue).await.oldest, None);
    on.publish("user.created", 0..4).await;
    assert_eq!(on.counts(&queue).await, [4, 0, 0, 0]);
    let taken = on.fetch(&queue, 3).await;
    assert_eq!(on.counts(&queue).await, [1, 3, 0, 0]);
    on.settle(&queue, taken[0].receipt, Verdict::Done).await;
    on.settle(&queue, taken[1].receipt, Verdict::Retry { after: 10 * LONGER }).await;
    on.settle(&queue, taken[2].receipt, dead_for("poison")).await;
    assert_eq!(on.counts(&queue).await, [1, 0, 1, 1]);
    on.elapse(LONGER).await;
    assert!(on.stats(&queue).await.oldest.is_some_and(|age| age >= LONGER - Duration::from_millis(1)));
    let rest = on.one(&queue).await;
    on.settle(&queue, rest, Verdict::Done).await;
    assert_eq!(on.counts(&queue).await, [0, 0, 1, 1]);
    on.elapse(10 * LONGER).await;
    let last = on.one(&queue).await;
    assert_eq!(on.counts(&queue).await, [0, 1, 0, 1]);
    on.settle(&queue, last, Verdict::Done).await;
    assert_eq!(on.counts(&queue).await, [0, 0, 0, 1]);
    assert_eq!(on.stats(&queue).await.oldest, None);
}

async fn waiting(on: Backend) {
    let queue = on.open("a", "user.*").await;
    let fetch = async { on.store.fetch(&queue, want(10, 100 * LONGER)).await.unwrap() };
    let publish = async {
        tokio::task::yield_now().await;
        on.publish("user.created", [1]).await;
    };
    let (got, ()) = tokio::join!(fetch, publish);
    assert_eq!(got.iter().map(|delivery| number(&delivery.event)).collect::<Vec<_>>(), [1]);
}

async fn waiting_for_due(on: Backend) {
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", [1]).await;
    let first = on.one(&queue).await;
    let second = on.store.fetch(&queue, want(1, 100 * LONGER)).await.unwrap();
    assert_eq!(second[0].receipt.attempt, 2, "its receipt lapsed");
    assert_eq!(on.settle(&queue, first, Verdict::Done).await, Standing::Gone);
    on.settle(&queue, second[0].receipt, Verdict::Retry { after: VISIBILITY / 2 }).await;
    let third = on.store.fetch(&queue, want(1, 100 * LONGER)).await.unwrap();
    assert_eq!(third[0].receipt.attempt, 3, "its time came");
}

async fn waiting_in_vain(on: Backend) {
    let queue = on.open("a", "user.*").await;
    assert!(on.store.fetch(&queue, want(10, VISIBILITY)).await.unwrap().is_empty());
}

async fn dropped_fetch(on: Backend) {
    let queue = on.open("a", "user.*").await;
    for _ in 0..3 {
        let mut fetch = on.store.fetch(&queue, want(1, 100 * LONGER));
        assert!((&mut fetch).now_or_never().is_none(), "there is nothing to fetch");
    }
    on.publish("user.created", [1]).await;
    on.elapse(LONGER).await;
    let got = on.store.fetch(&queue, want(1, 100 * LONGER)).await.unwrap();
    assert_eq!(number(&got[0].event), 1);
}

async fn without_bound(on: Backend) {
    let queue = on.open("a", "user.*").await;
    let credits = usize::MAX;
    let want = Fetch { consumer: "test", credits, visibility: Duration::MAX, wait: Duration::MAX };
    let fetch = async { on.store.fetch(&queue, want).await.unwrap() };
    let publish = async {
        tokio::task::yield_now().await;
        on.publish("user.created", [1]).await;
    };
    let (got, ()) = tokio::join!(fetch, publish);
    assert_eq!(number(&got[0].event), 1);
    let extended = on.store.extend(&queue, got[0].receipt, Duration::MAX).await;
    assert_eq!(extended, Ok(Standing::Held));
    on.elapse(LONGER).await;
    assert_eq!(on.deliveries(&queue).await, []);
    on.settle(&queue, got[0].receipt, dead_for("time")).await;
    assert_eq!(on.store.dead_letters(&queue, usize::MAX).await.unwrap().len(), 1);
}

async fn dead_again(on: Backend) {
    let queue = on.open("a", "user.*").await;
    let events = on.publish("user.created", [1, 2]).await;
    for cause in ["first", "second"] {
        for delivery in on.fetch(&queue, 10).await {
            on.settle(&queue, delivery.receipt, dead_for(cause)).await;
        }
        on.store.rewind(&queue, Start::Oldest).await.unwrap();
    }
    let letters = on.store.dead_letters(&queue, 10).await.unwrap();
    let told: Vec<_> = letters.iter().map(|letter| (number(&letter.event), &*letter.cause)).collect();
    assert_eq!(told, [(1, "second"), (2, "second")]);
    for event in &events {
        assert_eq!(on.store.redrive(&queue, event.id).await, Ok(true));
        assert_eq!(on.store.redrive(&queue, event.id).await, Ok(false));
    }
    assert_eq!(on.stats(&queue).await.dead, 0);
}

async fn dead(on: Backend) {
    let queue = on.open("a", "user.*").await;
    let events = on.publish("user.created", [1, 2]).await;
    let receipts: Vec<_> = on.fetch(&queue, 2).await.iter().map(|delivery| delivery.receipt).collect();
    on.settle(&queue, receipts[1], dead_for("cannot be read")).await;
    on.elapse(LONGER).await;
    let second = on.one(&queue).await;
    on.settle(&queue, second, dead_for("no\nconnection é")).await;
    let letters = on.store.dead_letters(&queue, 10).await.unwrap();
    let told: Vec<_> = letters.iter().map(|letter| (&*letter.cause, letter.attempts)).collect();
    assert_eq!(told, [("cannot be read", 1), ("no\nconnection é", 2)]);
    assert_eq!((&letters[0].event, &letters[1].event), (&events[1], &events[0]));
    assert_eq!(on.store.dead_letters(&queue, 1).await.unwrap().len(), 1);
    assert_eq!(on.deliveries(&queue).await, []);
}

async fn redriving(on: Backend) {
    let [a, b] = [on.open("a", "user.*").await, on.open("b", "user.*").await];
    let events = on.publish("user.created", [1]).await;
    for queue in [&a, &b] {
        let receipt = on.one(queue).await;
        on.settle(queue, receipt, dead_for("poison")).await;
    }
    let id = events[0].id;
    assert_eq!(on.store.redrive(&a, id).await, Ok(true));
    assert_eq!(on.store.redrive(&a, id).await, Ok(false));
    assert_eq!(on.deliveries(&b).await, []);
    assert_eq!(on.counts(&b).await, [0, 0, 0, 1]);
    assert_eq!(on.deliveries(&a).await, [(1, 1)]);
    assert_eq!(on.counts(&a).await, [0, 1, 0, 0]);
    assert_eq!(on.store.redrive(&a, event("user.created", 2).id).await, Ok(false));
    assert_eq!(on.store.redrive(&queue("c", "user.*"), id).await, Ok(false));
}

async fn retiring(on: Backend) {
    let [a, b] = [on.open("a", "user.*").await, on.open("b", "user.*").await];
    on.publish("user.created", 0..4).await;
    let taken = on.fetch(&a, 3).await;
    on.settle(&a, taken[0].receipt, Verdict::Retry { after: LONGER }).await;
    on.settle(&a, taken[1].receipt, dead_for("poison")).await;
    assert_eq!(on.store.retire(&a).await, Ok(3), "queued, pending and delayed");
    assert_eq!(on.store.retire(&a).await, Ok(0));
    assert!(on.store.dead_letters(&a, 10).await.unwrap().is_empty());
    assert_eq!(on.counts(&b).await, [4, 0, 0, 0]);
    on.open("a", "user.*").await;
    assert_eq!(on.counts(&a).await, [0, 0, 0, 0], "it begins anew");
}

async fn reopened(on: Backend) {
    let queue = on.open("a", "user.*").await;
    on.publish("user.created", [1]).await;
    let old = on.one(&queue).await;
    on.store.retire(&queue).await.unwrap();
    on.open("a", "user.*").await;
    on.publish("user.created", [2]).await;
    let new = on.one(&queue).await;
    for verdict in [Verdict::Done, AT_ONCE, dead_for("of another event")] {
        assert_eq!(on.settle(&queue, old, verdict).await, Standing::Gone);
    }
    assert_eq!(on.store.extend(&queue, old, VISIBILITY).await, Ok(Standing::Gone));
    assert_eq!(on.settle(&queue, new, Verdict::Done).await, Standing::Held);
}

async fn unknown(on: Backend) {
    let receipt = Receipt { position: 0, attempt: 1 };
    let never = queue("a", "user.*");
    let retired = on.open("b", "user.*").await;
    on.open("c", "user.*").await;
    on.store.retire(&retired).await.unwrap();
    for queue in [never, retired] {
        let rejected = |answer: Result<(), StoreError>| {
            assert!(matches!(answer, Err(StoreError::Rejected { .. })), "{answer:?}");
        };
        rejected(on.store.fetch(&queue, want(1, Duration::ZERO)).await.map(|_| ()));
        rejected(on.store.settle(&queue, receipt, Verdict::Done).await.map(|_| ()));
        rejected(on.store.extend(&queue, receipt, VISIBILITY).await.map(|_| ()));
    }
    assert_eq!(on.store.stats().await.unwrap().len(), 1);
}
