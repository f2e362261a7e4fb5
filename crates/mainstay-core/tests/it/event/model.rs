//! The store in this process against a model that is too simple to be wrong.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use jiff::Timestamp;
use mainstay_core::codec::Codec;
use mainstay_core::event::store::{Fetch, Opening, Published, Receipt, Standing, Store, Verdict};
use mainstay_core::event::{Envelope, EventId, Kind, Memory, Pattern, Queue, Start};
use mainstay_core::store::{Reply, StoreError};
use mainstay_core::time::{Clock, Moment, Source};
use proptest::prelude::*;

use super::bounds;

const CAPACITY: usize = 5;
const VISIBILITY: u64 = 100;
const KINDS: [&str; 2] = ["user.created", "user.deleted"];
/// Events share these; the rest have none.
const SUBJECTS: [&str; 2] = ["s", "t"];
const RETAINED: usize = 8;
/// Group, pattern, and whether it is ordered.
const QUEUES: [(&str, &str, bool); 4] = [
    ("a", "user.*", false),
    ("b", "user.*", true),
    ("b", "user.deleted", false),
    ("c", "user.created", true),
];

#[derive(Debug, Clone)]
enum Step {
    Publish(Vec<(usize, u128)>),
    Open(usize, Place),
    Rewind(usize, Place),
    History(usize, Place, usize),
    Retire(usize),
    Fetch(usize, usize),
    Settle(usize, Verdict),
    Extend(usize),
    Redrive(usize, u128),
    Pass(u64),
}

/// Where to begin.
#[derive(Debug, Clone, Copy)]
enum Place {
    Now,
    Oldest,
    At(u64),
    After(u128),
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        2 => Just(Place::Now),
        1 => Just(Place::Oldest),
        1 => (0..1_500_u64).prop_map(Place::At),
        1 => (0..40_u128).prop_map(Place::After),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // Few ids, so that some come twice; times that meet each other.
    let event = (0..KINDS.len(), 0..40_u128);
    let times = prop::sample::select(vec![0, 1, VISIBILITY / 2, VISIBILITY, 3 * VISIBILITY]);
    let verdict = prop_oneof![
        Just(Verdict::Done),
        times.clone().prop_map(|after| Verdict::Retry { after: Duration::from_millis(after) }),
        Just(Verdict::Dead { cause: "poison".into() }),
    ];
    let queue = 0..QUEUES.len();
    prop_oneof![
        4 => prop::collection::vec(event, 0..4).prop_map(distinct).prop_map(Step::Publish),
        2 => (queue.clone(), place()).prop_map(|(queue, place)| Step::Open(queue, place)),
        1 => (queue.clone(), place()).prop_map(|(queue, place)| Step::Rewind(queue, place)),
        1 => (queue.clone(), place(), 0..6_usize).prop_map(|(queue, place, limit)| Step::History(queue, place, limit)),
        1 => queue.clone().prop_map(Step::Retire),
        4 => (queue.clone(), 0..4_usize).prop_map(|(queue, credits)| Step::Fetch(queue, credits)),
        4 => (0..30_usize, verdict).prop_map(|(receipt, verdict)| Step::Settle(receipt, verdict)),
        1 => (0..30_usize).prop_map(Step::Extend),
        1 => (queue, 0..40_u128).prop_map(|(queue, id)| Step::Redrive(queue, id)),
        3 => times.prop_map(Step::Pass),
    ]
}

fn distinct(mut events: Vec<(usize, u128)>) -> Vec<(usize, u128)> {
    let mut seen = HashSet::new();
    events.retain(|(_, id)| seen.insert(*id));
    events
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Queued,
    Pending { due: u64 },
    Delayed { due: u64 },
    Dead { order: u64 },
    Done,
}

#[derive(Debug, Clone)]
struct Item {
    id: u128,
    /// Where it is in the topic; what was redriven comes behind what was there.
    place: (usize, usize),
    attempt: u32,
    state: State,
}

/// Every event a queue was ever given, and where it is now; every event there was, and when.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    log: Vec<(usize, u128, u64)>,
    deaths: u64,
    queues: HashMap<usize, Vec<Item>>,
    seen: HashSet<u128>,
}

impl Item {
    fn is_live(&self) -> bool {
        !matches!(self.state, State::Done | State::Dead { .. })
    }

    fn is_out(&self) -> bool {
        matches!(self.state, State::Pending { .. } | State::Delayed { .. })
    }
}

fn takes(queue: usize, kind: usize) -> bool {
    QUEUES[queue].1.ends_with('*') || QUEUES[queue].1 == KINDS[kind]
}

fn subject(id: u128) -> Option<&'static str> {
    SUBJECTS.get(usize::try_from(id % 3).unwrap()).copied()
}

impl Model {
    /// Where in the log that is, and whether something before it may be missing.
    fn find(&self, place: Place) -> (usize, bool) {
        let oldest = self.log.len().saturating_sub(RETAINED);
        match place {
            Place::Now => (self.log.len(), false),
            Place::Oldest => (oldest, false),
            Place::At(time) => {
                let first = self.log.iter().position(|(_, _, at)| *at >= time).unwrap_or(self.log.len());
                (first.max(oldest), first < oldest)
            }
            Place::After(id) => match self.log[oldest..].iter().position(|(_, other, _)| *other == id) {
                Some(at) => (oldest + at + 1, false),
                None => (oldest, true),
            },
        }
    }

    fn rewind(&mut self, queue: usize, place: Place) -> Option<()> {
        let (from, _) = self.find(place);
        let items = self.queues.get_mut(&queue)?;
        for (at, (kind, id, _)) in self.log.iter().enumerate().skip(from) {
            let here = items.iter().any(|item| item.id == *id && item.is_live());
            if takes(queue, *kind) && !here {
                items.push(Item { id: *id, place: (at, items.len()), attempt: 0, state: State::Queued });
            }
        }
        Some(())
    }

    fn history(&self, queue: usize, place: Place, limit: usize) -> (Vec<EventId>, bool) {
        let (from, gap) = self.find(place);
        let events = self.log[from..].iter().filter(|(kind, _, _)| takes(queue, *kind));
        (events.take(limit).map(|(_, number, _)| id(*number)).collect(), gap)
    }

    fn publish(&mut self, events: &[(usize, u128)]) -> Published {
        let mut next: Vec<(usize, Vec<Item>)> =
            self.queues.iter().map(|(queue, items)| (*queue, items.clone())).collect();
        let mut seen = self.seen.clone();
        let mut log = self.log.clone();
        for (kind, id) in events {
            if !seen.insert(*id) {
                continue;
            }
            log.push((*kind, *id, self.now));
            for (queue, items) in &mut next {
                if takes(*queue, *kind) {
                    let place = (log.len() - 1, items.len());
                    items.push(Item { id: *id, place, attempt: 0, state: State::Queued });
                }
            }
        }
        let live = |items: &[Item]| items.iter().filter(|item| item.is_live()).count();
        let grew = |queue: &usize, items: &Vec<Item>| items.len() > self.queues[queue].len();
        if next.iter().any(|(queue, items)| grew(queue, items) && live(items) > CAPACITY) {
            return Published::Full;
        }
        self.queues = next.into_iter().collect();
        self.seen = seen;
        self.log = log;
        Published::Accepted
    }

    /// The places in the queue of what is delivered, and the attempt of each.
    fn fetch(&mut self, queue: usize, credits: usize) -> Option<Vec<(usize, u128, u32)>> {
        let now = self.now;
        let items = self.queues.get_mut(&queue)?;
        let ordered = QUEUES[queue].2;
        // What was first, of a subject of which nothing is out.
        let is_next = |at: usize| {
            let item = &items[at];
            let others =
                || items.iter().filter(|other| other.is_live() && subject(other.id) == subject(item.id));
            !ordered
                || subject(item.id).is_none()
                || others().all(|other| !other.is_out() && other.place >= item.place)
        };
        let due = |at: usize| match items[at].state {
            State::Pending { due } | State::Delayed { due } if due <= now => Some((due, (0, at))),
            State::Queued if is_next(at) => Some((u64::MAX, items[at].place)),
            _ => None,
        };
        let mut order: Vec<_> = (0..items.len()).filter_map(|at| Some((due(at)?, at))).collect();
        order.sort_unstable();
        let mut delivered = Vec::new();
        for (_, at) in order.into_iter().take(credits) {
            let item = &mut items[at];
            item.attempt += 1;
            item.state = State::Pending { due: now + VISIBILITY };
            delivered.push((at, item.id, item.attempt));
        }
        Some(delivered)
    }

    fn standing(&mut self, queue: usize, at: usize, attempt: u32) -> Option<Option<&mut Item>> {
        let items = self.queues.get_mut(&queue)?;
        let item = items.get_mut(at);
        Some(item.filter(|item| item.attempt == attempt && matches!(item.state, State::Pending { .. })))
    }

    fn redrive(&mut self, queue: usize, id: u128) -> bool {
        let Some(items) = self.queues.get_mut(&queue) else { return false };
        let dead = items.iter_mut().find(|item| item.id == id && matches!(item.state, State::Dead { .. }));
        let Some(dead) = dead else { return false };
        dead.state = State::Done;
        items.push(Item { id, place: (self.log.len(), items.len()), attempt: 0, state: State::Queued });
        true
    }

    /// Of an event that dies again, as it can where the queue was rewound, the last death counts.
    fn forget_death(&mut self, queue: usize, at: usize) {
        let items = self.queues.get_mut(&queue).expect("what stands in a queue has one");
        let id = items[at].id;
        for item in items.iter_mut().filter(|item| item.id == id) {
            if matches!(item.state, State::Dead { .. }) {
                item.state = State::Done;
            }
        }
    }

    fn count(&self, queue: usize) -> [usize; 4] {
        let mut counts = [0; 4];
        for item in &self.queues[&queue] {
            match item.state {
                State::Queued => counts[0] += 1,
                State::Pending { .. } => counts[1] += 1,
                State::Delayed { .. } => counts[2] += 1,
                State::Dead { .. } => counts[3] += 1,
                State::Done => {}
            }
        }
        counts
    }

    fn dead(&self, queue: usize) -> Vec<u128> {
        let dead = self.queues[&queue].iter().filter_map(|item| match item.state {
            State::Dead { order } => Some((order, item.id)),
            _ => None,
        });
        let mut dead: Vec<_> = dead.collect();
        dead.sort_unstable();
        dead.into_iter().map(|(_, id)| id).collect()
    }
}

#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Source for Hand {
    fn now(&self) -> Moment {
        Moment::from_micros(self.0.load(SeqCst))
    }

    fn wall(&self) -> Timestamp {
        wall(self.0.load(SeqCst) / 1_000)
    }
}

fn wall(millis: u64) -> Timestamp {
    Timestamp::from_millisecond(i64::try_from(millis).unwrap()).unwrap()
}

fn start(place: Place) -> Start {
    match place {
        Place::Now => Start::Now,
        Place::Oldest => Start::Oldest,
        Place::At(millis) => Start::At(wall(millis)),
        Place::After(number) => Start::After(id(number)),
    }
}

fn id(id: u128) -> EventId {
    EventId::from_uuid(uuid::Uuid::from_u128(id))
}

fn envelope(kind: usize, number: u128) -> Arc<Envelope> {
    let kind = Kind::new(KINDS[kind]).unwrap();
    let data = bytes::Bytes::from_static(b"null");
    let mut event = Envelope::new(id(number), "test".into(), kind, Timestamp::UNIX_EPOCH, Codec::Json, data);
    event.subject = subject(number).map(str::to_owned);
    Arc::new(event)
}

fn now<T>(reply: Reply<'_, Result<T, StoreError>>) -> Option<T> {
    match reply.now().expect("the store in this process answers at once") {
        Ok(answer) => Some(answer),
        Err(StoreError::Rejected { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

fn compare(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let hand = Arc::new(Hand::default());
    let mut bounds = bounds(CAPACITY);
    bounds.retained = RETAINED;
    let store = Memory::new(bounds, Clock::of(Arc::clone(&hand) as Arc<dyn Source>));
    let queues =
        QUEUES.map(|(group, pattern, _)| Queue::shared(group.into(), Pattern::new(pattern).unwrap()));
    let mut model = Model::default();
    // Every receipt ever given: of which queue, where in the model's, and in the store's own words.
    let mut receipts: Vec<(usize, usize, Receipt)> = Vec::new();
    for step in steps {
        match step {
            Step::Publish(events) => {
                let envelopes: Vec<_> = events.iter().map(|(kind, id)| envelope(*kind, *id)).collect();
                prop_assert_eq!(now(store.publish(&envelopes)), Some(model.publish(&events)));
            }
            Step::Open(queue, place) => {
                let mut opening = Opening::from(start(place));
                opening.ordered = QUEUES[queue].2;
                prop_assert_eq!(now(store.open(&queues[queue], opening)), Some(()));
                if let Entry::Vacant(new) = model.queues.entry(queue) {
                    new.insert(Vec::new());
                    model.rewind(queue, place);
                }
                opening.ordered = !opening.ordered;
                prop_assert_eq!(now(store.open(&queues[queue], opening)), None);
            }
            Step::Rewind(queue, place) => {
                let wanted = model.rewind(queue, place);
                prop_assert_eq!(now(store.rewind(&queues[queue], start(place))), wanted);
            }
            Step::History(queue, place, limit) => {
                let wanted = model.history(queue, place, limit);
                let got = now(store.history(&queues[queue].pattern, start(place), limit)).unwrap();
                let ids: Vec<_> = got.events.iter().map(|event| event.id).collect();
                prop_assert_eq!((ids, got.gap), wanted);
            }
            Step::Retire(queue) => {
                let live = model.queues.contains_key(&queue).then(|| model.count(queue));
                let live = live.map_or(0, |[queued, pending, delayed, _]| queued + pending + delayed);
                prop_assert_eq!(now(store.retire(&queues[queue])), Some(live));
                model.queues.remove(&queue);
                receipts.retain(|(of, _, _)| *of != queue);
            }
            Step::Fetch(queue, credits) => {
                let visibility = Duration::from_millis(VISIBILITY);
                let want = Fetch { consumer: "c", credits, visibility, wait: Duration::ZERO };
                let got = now(store.fetch(&queues[queue], want));
                let wanted = model.fetch(queue, credits);
                let told = got.as_ref().map(|got| {
                    got.iter()
                        .map(|delivery| (delivery.event.id, delivery.receipt.attempt))
                        .collect::<Vec<_>>()
                });
                let wanted_told = wanted.as_ref().map(|wanted| {
                    wanted.iter().map(|(_, number, attempt)| (id(*number), *attempt)).collect::<Vec<_>>()
                });
                prop_assert_eq!(told, wanted_told);
                for (got, wanted) in got.unwrap_or_default().iter().zip(wanted.unwrap_or_default()) {
                    receipts.push((queue, wanted.0, got.receipt));
                }
            }
            Step::Settle(which, verdict) => {
                let Some((queue, at, receipt)) = pick(&receipts, which) else { continue };
                let (deaths, time) = (model.deaths, model.now);
                let died = matches!(verdict, Verdict::Dead { .. });
                if died && matches!(model.standing(queue, at, receipt.attempt), Some(Some(_))) {
                    model.forget_death(queue, at);
                }
                let item = model.standing(queue, at, receipt.attempt).map(|item| match item {
                    None => Standing::Gone,
                    Some(item) => {
                        item.state = match &verdict {
                            Verdict::Done => State::Done,
                            Verdict::Retry { after } => {
                                State::Delayed { due: time + u64::try_from(after.as_millis()).unwrap() }
                            }
                            Verdict::Dead { .. } => State::Dead { order: deaths },
                        };
                        Standing::Held
                    }
                });
                model.deaths += 1;
                prop_assert_eq!(now(store.settle(&queues[queue], receipt, verdict)), item);
            }
            Step::Extend(which) => {
                let Some((queue, at, receipt)) = pick(&receipts, which) else { continue };
                let due = model.now + VISIBILITY;
                let item = model.standing(queue, at, receipt.attempt).map(|item| match item {
                    None => Standing::Gone,
                    Some(item) => {
                        item.state = State::Pending { due };
                        Standing::Held
                    }
                });
                let visibility = Duration::from_millis(VISIBILITY);
                prop_assert_eq!(now(store.extend(&queues[queue], receipt, visibility)), item);
            }
            Step::Redrive(queue, number) => {
                let wanted = model.redrive(queue, number);
                prop_assert_eq!(now(store.redrive(&queues[queue], id(number))), Some(wanted));
            }
            Step::Pass(millis) => {
                model.now += millis;
                hand.0.fetch_add(millis * 1_000, SeqCst);
            }
        }
        for stats in now(store.stats()).unwrap() {
            let queue = queues.iter().position(|queue| *queue == stats.queue).unwrap();
            let counts = [stats.queued, stats.pending, stats.delayed, stats.dead];
            prop_assert_eq!(counts, model.count(queue));
            let dead = now(store.dead_letters(&queues[queue], 1_000)).unwrap();
            let dead: Vec<_> = dead.iter().map(|dead| dead.event.id).collect();
            prop_assert_eq!(dead, model.dead(queue).into_iter().map(id).collect::<Vec<_>>());
        }
        prop_assert_eq!(now(store.stats()).unwrap().len(), model.queues.len());
    }
    Ok(())
}

fn pick(receipts: &[(usize, usize, Receipt)], which: usize) -> Option<(usize, usize, Receipt)> {
    // Late ones are likelier to stand, early ones to be gone: both are wanted.
    receipts.iter().rev().nth(which % receipts.len().max(1)).copied()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn the_store_in_this_process_does_what_the_model_does(steps in prop::collection::vec(step(), 1..80)) {
        compare(steps)?;
    }
}

/// Publishes that many events and lets them all die.
pub(super) async fn kill(store: &Memory, queue: &Queue, events: u128) {
    store.open(queue, Opening::NOW).await.unwrap();
    for number in 0..events {
        Store::publish(store, &[envelope(0, number)]).await.unwrap();
        let want =
            Fetch { consumer: "c", credits: 1, visibility: Duration::from_secs(1), wait: Duration::ZERO };
        let delivery = store.fetch(queue, want).await.unwrap().remove(0);
        let verdict = Verdict::Dead { cause: "poison".into() };
        assert_eq!(Store::settle(store, queue, delivery.receipt, verdict).await, Ok(Standing::Held));
    }
}
