//! Stores of `mainstay_core::event` with one bug each.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_core::event::store::{
    Dead, Delivery, Fetch, History, Opening, Published, QueueStats, Receipt, Standing, Start, Store, Verdict,
};
use mainstay_core::event::{Envelope, EventId, Memory, Pattern, Queue};
use mainstay_core::store::{Reply, StoreError};
use tokio::time::Instant;

/// A bug that real buses have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// An event is done when it is delivered: a consumer that dies takes it along.
    SettlesOnDelivery,
    /// Any receipt of an event settles it, also that of a consumer who has lost it.
    IgnoresTheAttempt,
    /// Settling says it worked when it did not.
    AlwaysHeld,
    /// A repeated publish is a new event.
    ForgetsIds,
    /// A full queue drops what comes and says it took it.
    DropsWhenFull,
    /// A batch goes in event by event, as far as it goes.
    PublishesInPart,
    /// Opening a queue that is open begins it anew, at the end.
    ReopensAtTheEnd,
    /// Opening a queue fetches what was published before.
    OpensAtTheBeginning,
    /// A heartbeat is answered and ignored.
    IgnoresHeartbeats,
    /// A retry comes back at once.
    RetriesAtOnce,
    /// Every fetch is given one more than it asked for.
    IgnoresCredits,
    /// All groups have one queue.
    SharesAcrossGroups,
    /// A dead letter can be redriven again and again.
    RedrivesAgain,
    /// A dead letter is queued again for every group.
    RedrivesForAll,
    /// An ordered queue is a queue like any other.
    IgnoresOrder,
    /// The next event of a subject is delivered while the one before waits for its next attempt.
    OvertakesTheDelayed,
    /// The next event of a subject is delivered when the receipt of the one before has lapsed.
    OvertakesTheLapsed,
    /// An ordered queue that is retired leaves the subjects it was at work on blocked.
    RetiresWithoutSubjects,
    /// Opening an ordered queue unordered, or the other way round, is not noticed.
    OpensInAnyOrder,
    /// A queue begins now, wherever it was to begin.
    OpensAtNow,
    /// What begins behind an event begins with it.
    AfterIsInclusive,
    /// What begins behind an unknown event begins at the end: the cursor that outlived a failover.
    SkipsToTheEnd,
    /// Rewinding makes the queue anew: what was pending and from before is lost.
    RewindsByRetiring,
    /// Rewinding one queue rewinds all of the topic.
    RewindsForAll,
    /// Rewinding goes back to the oldest, wherever it was to go.
    RewindsTooFar,
    /// History misses its first event.
    HistorySkipsTheFirst,
    /// History has no event that no queue took.
    HistoryForgetsTheUntaken,
    /// History counts its limit before it looks at the pattern.
    HistoryLimitsTooEarly,
    /// History never says that something is missing.
    HidesTheGap,
    /// Events come out with the first version of their schema.
    DropsTheSchema,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::SettlesOnDelivery,
        Self::IgnoresTheAttempt,
        Self::AlwaysHeld,
        Self::ForgetsIds,
        Self::DropsWhenFull,
        Self::PublishesInPart,
        Self::ReopensAtTheEnd,
        Self::OpensAtTheBeginning,
        Self::IgnoresHeartbeats,
        Self::RetriesAtOnce,
        Self::IgnoresCredits,
        Self::SharesAcrossGroups,
        Self::RedrivesAgain,
        Self::RedrivesForAll,
        Self::IgnoresOrder,
        Self::OvertakesTheDelayed,
        Self::OvertakesTheLapsed,
        Self::RetiresWithoutSubjects,
        Self::OpensInAnyOrder,
        Self::OpensAtNow,
        Self::AfterIsInclusive,
        Self::SkipsToTheEnd,
        Self::RewindsByRetiring,
        Self::RewindsForAll,
        Self::RewindsTooFar,
        Self::HistorySkipsTheFirst,
        Self::HistoryForgetsTheUntaken,
        Self::HistoryLimitsTooEarly,
        Self::HidesTheGap,
        Self::DropsTheSchema,
    ];
}

/// A good store behind one bug.
#[derive(Debug)]
pub struct Mutant {
    store: Memory,
    bug: Bug,
    memory: Mutex<Notes>,
}

/// What some bugs remember.
#[derive(Debug, Default)]
struct Notes {
    ids: HashSet<EventId>,
    published: Vec<Arc<Envelope>>,
    dead: HashMap<EventId, Arc<Envelope>>,
    latest: HashMap<(Queue, u128), u32>,
    ordered: HashSet<Queue>,
    taken: HashSet<EventId>,
    /// What is delivered: the event, its attempt, and when its receipt lapses.
    held: HashMap<(Queue, u128), (Arc<Envelope>, u32, Instant)>,
    /// What the store below believes done, and when it is due.
    aside: Vec<(Queue, u128, Arc<Envelope>, u32, Instant)>,
    /// Subjects whose events are not delivered.
    blocked: HashSet<(Queue, String)>,
}

impl Mutant {
    /// The store with the bug.
    #[must_use]
    pub fn new(store: Memory, bug: Bug) -> Self {
        Self { store, bug, memory: Mutex::default() }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    fn queue(&self, queue: &Queue) -> Queue {
        let mut queue = queue.clone();
        if self.has(Bug::SharesAcrossGroups) {
            queue.group = "all".into();
        }
        queue
    }

    fn receipt(&self, queue: &Queue, mut receipt: Receipt) -> Receipt {
        if self.has(Bug::IgnoresTheAttempt) {
            let latest = self.notes().latest.get(&(queue.clone(), receipt.position)).copied();
            receipt.attempt = latest.unwrap_or(receipt.attempt);
        }
        receipt
    }
}

/// Two bugs of order. The store below is told that an event is done, which lets the next of its subject come, and the
/// event is delivered from here.
impl Mutant {
    async fn set_lapsed_aside(&self, queue: &Queue) -> Result<(), StoreError> {
        if !self.has(Bug::OvertakesTheLapsed) || !self.notes().ordered.contains(queue) {
            return Ok(());
        }
        let now = Instant::now();
        let held: Vec<_> = self.notes().held.iter().map(|(at, held)| (at.clone(), held.clone())).collect();
        for ((of, position), (event, attempt, lapses)) in held {
            if of == *queue && lapses <= now && position < ASIDE {
                self.notes().held.remove(&(of, position));
                self.store.settle(queue, Receipt { position, attempt }, Verdict::Done).await?;
                self.notes().aside.push((queue.clone(), ASIDE | position, event, attempt, lapses));
            }
        }
        Ok(())
    }

    fn due_again(&self, queue: &Queue, want: &Fetch<'_>) -> Vec<Delivery> {
        let now = Instant::now();
        let mut notes = self.notes();
        let is_due = |(of, _, _, _, due): &mut (Queue, _, _, _, Instant)| of == queue && *due <= now;
        let due: Vec<_> = notes.aside.extract_if(.., is_due).take(want.credits).collect();
        due.into_iter()
            .map(|(_, position, event, attempt, _)| {
                Delivery::new(Receipt { position, attempt: attempt + 1 }, event)
            })
            .collect()
    }

    /// Notes what is delivered.
    fn deliver(&self, queue: &Queue, want: &Fetch<'_>, deliveries: &mut Vec<Delivery>) {
        let mut notes = self.notes();
        let lapses = Instant::now() + want.visibility.min(Duration::from_secs(86_400));
        deliveries.retain(|delivery| {
            let subject = delivery.event.subject.clone().unwrap_or_default();
            !notes.blocked.contains(&(queue.clone(), subject))
        });
        for Delivery { receipt, event, .. } in deliveries {
            if self.has(Bug::DropsTheSchema) {
                let mut first = Envelope::clone(event);
                first.schema = 1;
                *event = Arc::new(first);
            }
            let held = (Arc::clone(event), receipt.attempt, lapses);
            notes.held.insert((queue.clone(), receipt.position), held);
        }
    }

    /// Settles what is told done below already, or is from now on.
    async fn settle_aside(
        &self,
        queue: &Queue,
        receipt: Receipt,
        verdict: &Verdict,
    ) -> Result<Option<Standing>, StoreError> {
        let at = (queue.clone(), receipt.position);
        let is_aside = receipt.position >= ASIDE;
        let overtakes = self.has(Bug::OvertakesTheDelayed) && self.notes().ordered.contains(queue);
        let Verdict::Retry { after } = verdict else {
            let was = self.notes().held.get(&at).is_some_and(|held| held.1 == receipt.attempt);
            if is_aside && was {
                self.notes().held.remove(&at);
            }
            return Ok(is_aside.then_some(if was { Standing::Held } else { Standing::Gone }));
        };
        let Some((event, attempt, _)) = self.notes().held.get(&at).cloned() else { return Ok(None) };
        if attempt != receipt.attempt || !(is_aside || overtakes) {
            return Ok(None);
        }
        self.notes().held.remove(&at);
        if !is_aside {
            self.store.settle(queue, receipt, Verdict::Done).await?;
        }
        let (position, due) = (ASIDE | receipt.position, Instant::now() + *after);
        self.notes().aside.push((queue.clone(), position, event, attempt, due));
        Ok(Some(Standing::Held))
    }

    /// Where it begins, as the bug has it.
    async fn start(&self, pattern: &Pattern, start: Start) -> Result<Start, StoreError> {
        let Start::After(id) = start else { return Ok(start) };
        let all = self.store.history(&topic(pattern), Start::Oldest, usize::MAX).await?.events;
        let at = all.iter().position(|event| event.id == id);
        Ok(match (self.bug, at) {
            (Bug::SkipsToTheEnd, None) => Start::Now,
            (Bug::AfterIsInclusive, Some(0)) => Start::Oldest,
            (Bug::AfterIsInclusive, Some(at)) => Start::After(all[at - 1].id),
            _ => start,
        })
    }
}

/// Positions from here on are of events delivered from aside.
const ASIDE: u128 = 1 << 127;

/// All types of a topic with more than one part.
fn topic(pattern: &Pattern) -> Pattern {
    Pattern::new(&format!("{}.*", pattern.topic())).expect("a topic is a name")
}

fn renamed(event: &Envelope) -> Arc<Envelope> {
    let mut event = event.clone();
    event.id = EventId::at(event.time);
    Arc::new(event)
}

impl Store for Mutant {
    fn publish<'a>(&'a self, events: &'a [Arc<Envelope>]) -> Reply<'a, Result<Published, StoreError>> {
        Reply::pending(async move {
            let mut events = events.to_vec();
            if self.has(Bug::ForgetsIds) {
                let mut notes = self.notes();
                for event in &mut events {
                    if !notes.ids.insert(event.id) {
                        *event = renamed(event);
                    }
                }
            }
            self.notes().published.extend(events.iter().cloned());
            for stats in self.store.stats().await? {
                let taken = events.iter().filter(|event| stats.queue.pattern.matches(&event.kind));
                self.notes().taken.extend(taken.map(|event| event.id));
            }
            if self.has(Bug::PublishesInPart) {
                for event in &events {
                    let answer = self.store.publish(std::slice::from_ref(event)).await?;
                    if answer == Published::Full {
                        return Ok(answer);
                    }
                }
                return Ok(Published::Accepted);
            }
            let answer = self.store.publish(&events).await?;
            Ok(if self.has(Bug::DropsWhenFull) { Published::Accepted } else { answer })
        })
    }

    fn open<'a>(&'a self, queue: &'a Queue, opening: Opening) -> Reply<'a, Result<(), StoreError>> {
        Reply::pending(async move {
            let queue = self.queue(queue);
            if self.has(Bug::ReopensAtTheEnd) {
                self.store.retire(&queue).await?;
            }
            let mut opening = opening;
            if self.has(Bug::IgnoresOrder) {
                opening.ordered = false;
            }
            if self.has(Bug::OpensAtNow) {
                opening.from = Start::Now;
            }
            opening.from = self.start(&queue.pattern, opening.from).await?;
            if opening.ordered {
                self.notes().ordered.insert(queue.clone());
            }
            let is_new = self.store.stats().await?.iter().all(|stats| stats.queue != queue);
            let opened = self.store.open(&queue, opening).await;
            if self.has(Bug::OpensInAnyOrder) && !is_new {
                return Ok(());
            }
            opened?;
            if self.has(Bug::OpensAtTheBeginning) && is_new {
                let published = self.notes().published.clone();
                for event in published.iter().filter(|event| queue.pattern.matches(&event.kind)) {
                    self.store.publish(&[renamed(event)]).await?;
                }
            }
            Ok(())
        })
    }

    fn fetch<'a>(
        &'a self,
        queue: &'a Queue,
        want: Fetch<'a>,
    ) -> Reply<'a, Result<Vec<Delivery>, StoreError>> {
        Reply::pending(async move {
            let queue = self.queue(queue);
            let more = usize::from(self.has(Bug::IgnoresCredits));
            self.set_lapsed_aside(&queue).await?;
            let mut deliveries = self.due_again(&queue, &want);
            let rest = want.credits.saturating_sub(deliveries.len()) + more;
            let wait = if deliveries.is_empty() { want.wait } else { Duration::ZERO };
            deliveries.extend(self.store.fetch(&queue, Fetch { credits: rest, wait, ..want }).await?);
            self.deliver(&queue, &want, &mut deliveries);
            for Delivery { receipt, .. } in &deliveries {
                self.notes().latest.insert((queue.clone(), receipt.position), receipt.attempt);
                if self.has(Bug::SettlesOnDelivery) {
                    self.store.settle(&queue, *receipt, Verdict::Done).await?;
                }
            }
            Ok(deliveries)
        })
    }

    fn settle<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        verdict: Verdict,
    ) -> Reply<'a, Result<Standing, StoreError>> {
        Reply::pending(async move {
            let queue = self.queue(queue);
            let receipt = self.receipt(&queue, receipt);
            let is_retry = matches!(verdict, Verdict::Retry { .. });
            if let Some(standing) = self.settle_aside(&queue, receipt, &verdict).await? {
                return Ok(standing);
            }
            self.notes().held.remove(&(queue.clone(), receipt.position));
            let at_once = Verdict::Retry { after: Duration::ZERO };
            let verdict = if is_retry && self.has(Bug::RetriesAtOnce) { at_once } else { verdict };
            let standing = self.store.settle(&queue, receipt, verdict).await?;
            for dead in self.store.dead_letters(&queue, usize::MAX).await? {
                self.notes().dead.insert(dead.event.id, dead.event);
            }
            let lies = self.has(Bug::AlwaysHeld) || self.has(Bug::SettlesOnDelivery);
            Ok(if lies { Standing::Held } else { standing })
        })
    }

    fn extend<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        visibility: Duration,
    ) -> Reply<'a, Result<Standing, StoreError>> {
        Reply::pending(async move {
            if self.has(Bug::IgnoresHeartbeats) {
                return Ok(Standing::Held);
            }
            let queue = self.queue(queue);
            self.store.extend(&queue, self.receipt(&queue, receipt), visibility).await
        })
    }

    fn retire<'a>(&'a self, queue: &'a Queue) -> Reply<'a, Result<usize, StoreError>> {
        Reply::pending(async move {
            let queue = self.queue(queue);
            if self.has(Bug::RetiresWithoutSubjects) {
                let mut notes = self.notes();
                let ordered = notes.ordered.contains(&queue);
                let held = notes.held.iter().filter(|((of, _), _)| ordered && *of == queue);
                let subjects = held.filter_map(|(_, (event, ..))| event.subject.clone());
                let blocked: Vec<_> = subjects.map(|subject| (queue.clone(), subject)).collect();
                notes.blocked.extend(blocked);
            }
            self.store.retire(&queue).await
        })
    }

    fn stats(&self) -> Reply<'_, Result<Vec<QueueStats>, StoreError>> {
        self.store.stats()
    }

    fn dead_letters<'a>(
        &'a self,
        queue: &'a Queue,
        limit: usize,
    ) -> Reply<'a, Result<Vec<Dead>, StoreError>> {
        Reply::pending(async move { self.store.dead_letters(&self.queue(queue), limit).await })
    }

    fn redrive<'a>(&'a self, queue: &'a Queue, id: EventId) -> Reply<'a, Result<bool, StoreError>> {
        Reply::pending(async move {
            let redriven = self.store.redrive(&self.queue(queue), id).await?;
            let dead = self.notes().dead.get(&id).cloned();
            match (self.bug, dead) {
                (Bug::RedrivesAgain, Some(event)) if !redriven => {
                    self.store.publish(&[renamed(&event)]).await?;
                    Ok(true)
                }
                (Bug::RedrivesForAll, Some(_)) if redriven => {
                    for stats in self.store.stats().await? {
                        self.store.redrive(&stats.queue, id).await?;
                    }
                    Ok(true)
                }
                _ => Ok(redriven),
            }
        })
    }

    fn rewind<'a>(&'a self, queue: &'a Queue, from: Start) -> Reply<'a, Result<(), StoreError>> {
        Reply::pending(async move {
            let from = self.start(&queue.pattern, from).await?;
            if self.has(Bug::RewindsByRetiring) && from != Start::Now {
                self.store.retire(queue).await?;
                let ordered = self.notes().ordered.contains(queue);
                let opening = Opening::from(from);
                return self.store.open(queue, if ordered { opening.ordered() } else { opening }).await;
            }
            if self.has(Bug::RewindsForAll) {
                for stats in self.store.stats().await? {
                    self.store.rewind(&stats.queue, from).await?;
                }
            }
            let too_far = self.has(Bug::RewindsTooFar) && from != Start::Now;
            self.store.rewind(queue, if too_far { Start::Oldest } else { from }).await
        })
    }

    fn history<'a>(
        &'a self,
        pattern: &'a Pattern,
        from: Start,
        limit: usize,
    ) -> Reply<'a, Result<History, StoreError>> {
        Reply::pending(async move {
            let start = self.start(pattern, from).await?;
            let History { mut events, mut gap, .. } = if self.has(Bug::HistoryLimitsTooEarly) {
                let mut all = self.store.history(&topic(pattern), start, limit).await?;
                all.events.retain(|event| pattern.matches(&event.kind));
                all
            } else {
                self.store.history(pattern, start, limit).await?
            };
            if self.has(Bug::HistorySkipsTheFirst) && from == Start::Oldest && !events.is_empty() {
                events.remove(0);
            }
            if self.has(Bug::HistoryForgetsTheUntaken) {
                let notes = self.notes();
                events.retain(|event| notes.taken.contains(&event.id));
            }
            gap &= !self.has(Bug::HidesTheGap) && !self.has(Bug::SkipsToTheEnd);
            Ok(History::new(events, gap))
        })
    }

    fn is_volatile(&self) -> bool {
        true
    }
}
