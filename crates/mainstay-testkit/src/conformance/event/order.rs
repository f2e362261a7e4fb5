//! Order by subject.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::store::{Fetch, Opening, Published, Receipt, Standing, Start, Verdict};
use mainstay_core::event::{Envelope, Queue};
use mainstay_core::store::StoreError;

use super::{AT_ONCE, Backend, LONGER, attempt, dead_for, event, number, queue, want};
use crate::Seed;
use crate::conformance::Suite;

pub(super) fn add_to(suite: Suite<Backend>) -> Suite<Backend> {
    suite
        .case("an ordered queue delivers the next event of a subject when the one before is done", next)
        .case(
            "an ordered queue delivers the next event of a subject when the one before is dead",
            after_a_death,
        )
        .case(
            "an ordered queue keeps a subject waiting while its first event is retried, and no other",
            retried,
        )
        .case("an ordered queue keeps a subject waiting when a receipt lapses, and no other", lapsed)
        .case("an ordered queue counts what waits for its turn as queued", counted)
        .case("events without a subject have no order", no_subject)
        .case("order in one queue does not bind another", other_queues)
        .case("a waiting fetch gets the next event of a subject when the one before ends", waiting)
        .case("opening an open queue with another order is refused and changes nothing", another_order)
        .case("an event redriven in an ordered queue comes behind those of its subject", redriven)
        .case("a retired ordered queue leaves no subject waiting", retired)
        .case("an ordered queue that begins with retained events keeps their order", from_retained)
        .case("whatever becomes of deliveries, no event of a subject overtakes another", random)
}

/// An event of a subject.
pub(super) fn of(subject: &str, number: u64) -> Arc<Envelope> {
    let mut event = Envelope::clone(&event("user.created", number));
    event.subject = Some(subject.to_owned());
    Arc::new(event)
}

impl Backend {
    pub(super) async fn open_ordered(&self, group: &str) -> Queue {
        let queue = queue(group, "user.*");
        self.store.open(&queue, Opening::NOW.ordered()).await.unwrap();
        queue
    }

    pub(super) async fn publish_of(&self, events: &[(&str, u64)]) -> Vec<Arc<Envelope>> {
        let events: Vec<_> = events.iter().map(|(subject, number)| of(subject, *number)).collect();
        assert_eq!(self.store.publish(&events).await, Ok(Published::Accepted));
        events
    }

    /// Takes what is there, which must be these numbers, each at its first delivery.
    pub(super) async fn take(&self, queue: &Queue, numbers: &[u64]) -> Vec<Receipt> {
        let taken = self.fetch(queue, 100).await;
        let told: Vec<_> = taken.iter().map(|taken| (number(&taken.event), attempt(taken))).collect();
        assert_eq!(told, numbers.iter().map(|number| (*number, 1)).collect::<Vec<_>>());
        taken.iter().map(|taken| taken.receipt).collect()
    }

    pub(super) async fn done(&self, queue: &Queue, receipts: &[Receipt]) {
        for receipt in receipts {
            assert_eq!(self.settle(queue, *receipt, Verdict::Done).await, Standing::Held);
        }
    }
}

async fn next(on: Backend) {
    let queue = on.open_ordered("a").await;
    on.publish_of(&[("a", 1), ("a", 2), ("b", 3), ("a", 4)]).await;
    let first = on.take(&queue, &[1, 3]).await;
    on.take(&queue, &[]).await;
    on.done(&queue, &first[1..]).await;
    on.take(&queue, &[]).await;
    on.done(&queue, &first[..1]).await;
    let second = on.take(&queue, &[2]).await;
    on.publish_of(&[("a", 5), ("b", 6)]).await;
    let other = on.take(&queue, &[6]).await;
    on.done(&queue, &second).await;
    let third = on.take(&queue, &[4]).await;
    on.done(&queue, &third).await;
    let last = on.take(&queue, &[5]).await;
    on.done(&queue, &last).await;
    on.done(&queue, &other).await;
    assert_eq!(on.counts(&queue).await, [0, 0, 0, 0]);
}

async fn after_a_death(on: Backend) {
    let queue = on.open_ordered("a").await;
    on.publish_of(&[("a", 1), ("a", 2)]).await;
    let first = on.take(&queue, &[1]).await;
    assert_eq!(on.settle(&queue, first[0], dead_for("poison")).await, Standing::Held);
    on.take(&queue, &[2]).await;
}

async fn retried(on: Backend) {
    let queue = on.open_ordered("a").await;
    on.publish_of(&[("a", 1), ("a", 2), ("b", 3)]).await;
    let first = on.take(&queue, &[1, 3]).await;
    on.settle(&queue, first[0], Verdict::Retry { after: LONGER }).await;
    on.done(&queue, &first[1..]).await;
    on.publish_of(&[("b", 4)]).await;
    let other = on.take(&queue, &[4]).await;
    on.done(&queue, &other).await;
    assert_eq!(on.counts(&queue).await, [1, 0, 1, 0]);
    on.elapse(2 * LONGER).await;
    let again = on.fetch(&queue, 100).await;
    let told: Vec<_> = again.iter().map(|taken| (number(&taken.event), attempt(taken))).collect();
    assert_eq!(told, [(1, 2)], "and the next stays behind it");
    on.settle(&queue, again[0].receipt, AT_ONCE).await;
    assert_eq!(on.deliveries(&queue).await, [(1, 3)]);
}

async fn lapsed(on: Backend) {
    let queue = on.open_ordered("a").await;
    on.publish_of(&[("a", 1), ("a", 2)]).await;
    let old = on.one(&queue).await;
    on.elapse(LONGER).await;
    assert_eq!(on.deliveries(&queue).await, [(1, 2)]);
    on.elapse(LONGER).await;
    let [third] = <[_; 1]>::try_from(on.fetch(&queue, 100).await).expect("only the first is there");
    assert_eq!((number(&third.event), attempt(&third)), (1, 3));
    assert_eq!(on.settle(&queue, old, Verdict::Done).await, Standing::Gone);
    on.take(&queue, &[]).await;
    on.done(&queue, &[third.receipt]).await;
    on.take(&queue, &[2]).await;
}

async fn counted(on: Backend) {
    let [ordered, plain] = [on.open_ordered("a").await, on.open("b", "user.*").await];
    assert!(on.stats(&ordered).await.ordered);
    assert!(!on.stats(&plain).await.ordered);
    on.publish_of(&[("a", 1), ("a", 2), ("a", 3), ("b", 4)]).await;
    let first = on.take(&ordered, &[1, 4]).await;
    assert_eq!(on.counts(&ordered).await, [2, 2, 0, 0]);
    on.done(&ordered, &first).await;
    assert_eq!(on.counts(&ordered).await, [2, 0, 0, 0]);
    on.take(&ordered, &[2]).await;
    assert_eq!(on.counts(&ordered).await, [1, 1, 0, 0]);
    assert_eq!(on.store.retire(&ordered).await, Ok(2));
}

async fn no_subject(on: Backend) {
    let queue = on.open_ordered("a").await;
    on.publish("user.created", [1, 2]).await;
    let taken = on.take(&queue, &[1, 2]).await;
    on.settle(&queue, taken[0], Verdict::Retry { after: 10 * LONGER }).await;
    on.publish("user.created", [3]).await;
    on.take(&queue, &[3]).await;
}

async fn other_queues(on: Backend) {
    let [one, two, plain] =
        [on.open_ordered("a").await, on.open_ordered("b").await, on.open("c", "user.*").await];
    on.publish_of(&[("a", 1), ("a", 2)]).await;
    on.take(&plain, &[1, 2]).await;
    let first = on.take(&one, &[1]).await;
    let other = on.take(&two, &[1]).await;
    on.done(&one, &first).await;
    on.take(&two, &[]).await;
    on.take(&one, &[2]).await;
    on.done(&two, &other).await;
    on.take(&two, &[2]).await;
}

async fn waiting(on: Backend) {
    let queue = on.open_ordered("a").await;
    on.publish_of(&[("a", 1), ("a", 2)]).await;
    let want = Fetch { visibility: 1_000 * LONGER, ..want(10, Duration::ZERO) };
    let first = on.store.fetch(&queue, want).await.unwrap();
    assert_eq!(first.len(), 1);
    let fetch = async { on.store.fetch(&queue, Fetch { wait: 100 * LONGER, ..want }).await.unwrap() };
    let settle = async {
        tokio::task::yield_now().await;
        on.done(&queue, &[first[0].receipt]).await;
    };
    let (got, ()) = tokio::join!(fetch, settle);
    assert_eq!(got.iter().map(|taken| number(&taken.event)).collect::<Vec<_>>(), [2]);
}

async fn another_order(on: Backend) {
    let [ordered, plain] = [on.open_ordered("a").await, on.open("b", "user.*").await];
    on.publish_of(&[("a", 1), ("a", 2)]).await;
    for start in [Start::Now, Start::Oldest] {
        let refused = [
            on.store.open(&ordered, Opening::from(start)).await,
            on.store.open(&plain, Opening::from(start).ordered()).await,
        ];
        for refused in refused {
            assert!(matches!(refused, Err(StoreError::Rejected { .. })), "{refused:?}");
        }
        on.store.open(&ordered, Opening::from(start).ordered()).await.unwrap();
        on.store.open(&plain, Opening::from(start)).await.unwrap();
    }
    on.take(&ordered, &[1]).await;
    on.take(&plain, &[1, 2]).await;
}

async fn redriven(on: Backend) {
    let queue = on.open_ordered("a").await;
    let events = on.publish_of(&[("a", 1), ("a", 2), ("a", 3)]).await;
    let first = on.take(&queue, &[1]).await;
    on.settle(&queue, first[0], dead_for("poison")).await;
    let second = on.take(&queue, &[2]).await;
    assert_eq!(on.store.redrive(&queue, events[0].id).await, Ok(true));
    on.take(&queue, &[]).await;
    on.done(&queue, &second).await;
    let third = on.take(&queue, &[3]).await;
    on.publish_of(&[("a", 4)]).await;
    on.take(&queue, &[]).await;
    on.done(&queue, &third).await;
    let again = on.take(&queue, &[1]).await;
    on.done(&queue, &again).await;
    on.take(&queue, &[4]).await;
}

async fn retired(on: Backend) {
    let queue = on.open_ordered("a").await;
    on.publish_of(&[("a", 1), ("a", 2), ("b", 3), ("c", 4)]).await;
    let taken = on.take(&queue, &[1, 3, 4]).await;
    on.settle(&queue, taken[1], Verdict::Retry { after: 100 * LONGER }).await;
    on.settle(&queue, taken[2], dead_for("poison")).await;
    assert_eq!(on.store.retire(&queue).await, Ok(3));
    on.open_ordered("a").await;
    on.publish_of(&[("a", 5), ("b", 6), ("c", 7)]).await;
    on.take(&queue, &[5, 6, 7]).await;
}

async fn from_retained(on: Backend) {
    on.publish_of(&[("a", 1), ("b", 2), ("a", 3)]).await;
    let queue = queue("a", "user.*");
    on.store.open(&queue, Opening::from(Start::Oldest).ordered()).await.unwrap();
    on.publish_of(&[("b", 4)]).await;
    let first = on.take(&queue, &[1, 2]).await;
    on.done(&queue, &first).await;
    on.take(&queue, &[3, 4]).await;
}

/// What a queue must do about order, and nothing else: what of each subject is unfinished, and what is delivered.
#[derive(Default)]
struct Model {
    unfinished: HashMap<String, VecDeque<u64>>,
    delivered: HashMap<u64, (String, Receipt)>,
}

impl Model {
    fn len(&self) -> usize {
        self.unfinished.values().map(VecDeque::len).sum()
    }

    fn deliver(&mut self, event: &Envelope, receipt: Receipt) {
        let (subject, number) = (event.subject.clone().expect("all have one"), number(event));
        let first = self.unfinished[&subject].front();
        assert_eq!(first, Some(&number), "of {subject}, at attempt {}", receipt.attempt);
        let before = self.delivered.insert(number, (subject, receipt));
        assert!(before.is_none(), "{number} is delivered already");
    }
}

async fn random(on: Backend) {
    const EVENTS: u64 = 60;
    let mut random = Seed::from_env("MAINSTAY_SEED").rng();
    let queue = on.open_ordered("a").await;
    let mut model = Model::default();
    let mut published = 0;
    // No receipt lapses, however slow the store.
    let want = Fetch { visibility: Duration::from_secs(3_600), ..want(3, Duration::ZERO) };
    while published < EVENTS || model.len() > 0 {
        let room = model.len() < on.capacity.min(24);
        if published < EVENTS && room && random.chance(0.5) {
            let subject = format!("s{}", random.below(4));
            let answer = on.store.publish(&[of(&subject, published)]).await.unwrap();
            // A store that counts by topic may be fuller than the queue.
            if answer == Published::Accepted {
                model.unfinished.entry(subject).or_default().push_back(published);
                published += 1;
            }
        }
        let wait = if model.delivered.is_empty() && model.len() > 0 { LONGER } else { Duration::ZERO };
        for taken in on.store.fetch(&queue, Fetch { wait, ..want }).await.unwrap() {
            model.deliver(&taken.event, taken.receipt);
        }
        let some: Vec<_> = model.delivered.keys().copied().filter(|_| random.chance(0.4)).collect();
        for number in some {
            let (subject, receipt) = model.delivered.remove(&number).expect("it is from there");
            let verdict = match random.below(10) {
                0..3 => AT_ONCE,
                3..5 => Verdict::Retry { after: Duration::from_millis(5) },
                5 => dead_for("poison"),
                _ => Verdict::Done,
            };
            if !matches!(verdict, Verdict::Retry { .. }) {
                let line = model.unfinished.get_mut(&subject).expect("it has one");
                assert_eq!(line.pop_front(), Some(number));
            }
            assert_eq!(on.settle(&queue, receipt, verdict).await, Standing::Held);
        }
    }
    let [queued, pending, delayed, _] = on.counts(&queue).await;
    assert_eq!([queued, pending, delayed], [0, 0, 0]);
}
