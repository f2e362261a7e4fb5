//! Stores of `mainstay_core::event` with one bug each.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_core::event::store::{
    Dead, Delivery, Fetch, History, Opening, Published, QueueStats, Receipt, Standing, Start, Store, Verdict,
};
use mainstay_core::event::{Envelope, EventId, Memory, Pattern, Queue};
use mainstay_core::store::{Reply, StoreError};

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
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 14] = [
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
            let is_new = self.store.stats().await?.iter().all(|stats| stats.queue != queue);
            self.store.open(&queue, opening).await?;
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
            let deliveries = self.store.fetch(&queue, Fetch { credits: want.credits + more, ..want }).await?;
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
        Reply::pending(async move { self.store.retire(&self.queue(queue)).await })
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
        self.store.rewind(queue, from)
    }

    fn history<'a>(
        &'a self,
        pattern: &'a Pattern,
        from: Start,
        limit: usize,
    ) -> Reply<'a, Result<History, StoreError>> {
        self.store.history(pattern, from, limit)
    }

    fn is_volatile(&self) -> bool {
        true
    }
}
