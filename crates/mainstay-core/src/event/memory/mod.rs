//! The store in this process.

mod log;
mod queue;
mod seen;
mod topic;
mod waiting;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use self::topic::{Topic, unknown};
use super::store::{
    Dead, Delivery, Fetch, History, Opening, Published, QueueStats, Receipt, Standing, Start, Store, Verdict,
};
use super::{Bounds, Envelope, EventId, Pattern, Queue};
use crate::store::{Reply, StoreError};
use crate::time::Clock;

/// Most topics that are remembered because something was published in them: names may come from input.
const MAX_TOPICS: usize = 256;

/// Queues in this process: nothing to install, and gone with it.
///
/// It is also the model of the contract: what a store on a server does is compared with it.
///
/// Per queue it keeps at most [`Bounds::queue`] events and [`Bounds::dead`] dead letters; redriven dead letters and
/// what a queue was opened or rewound to come on top. Of each topic it retains the latest [`Bounds::retained`]
/// events, whether a queue takes them or not, and remembers [`Bounds::dedup_ids`] ids. Events are shared, not
/// copied. Beyond 256 topics, one that never had a queue retains nothing.
#[derive(Debug)]
pub struct Memory {
    clock: Clock,
    bounds: Bounds,
    topics: RwLock<HashMap<Box<str>, Arc<Topic>, foldhash::fast::RandomState>>,
    /// How many queues were made.
    lives: AtomicU64,
}

impl Memory {
    /// A store without queues.
    #[must_use]
    pub fn new(bounds: Bounds, clock: Clock) -> Self {
        Self { clock, bounds, topics: RwLock::default(), lives: AtomicU64::new(0) }
    }

    fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn of(&self, queue: &Queue) -> Result<Arc<Topic>, StoreError> {
        self.topic(queue.pattern.topic()).ok_or_else(|| unknown(queue))
    }

    fn publish(&self, events: &[Arc<Envelope>]) -> Result<Published, StoreError> {
        let Some(first) = events.first() else { return Ok(Published::Accepted) };
        if events.iter().any(|event| event.kind.topic() != first.kind.topic()) {
            return Err(StoreError::rejected("the events are of more than one topic"));
        }
        let topic = self.topic(first.kind.topic()).or_else(|| self.made(first.kind.topic(), MAX_TOPICS));
        Ok(topic.map_or(Published::Accepted, |topic| topic.publish(events, &self.bounds, &self.clock)))
    }

    /// The topic, made if there is none and fewer than `most`.
    fn made(&self, name: &str, most: usize) -> Option<Arc<Topic>> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let is_known = topics.contains_key(name);
        (is_known || topics.len() < most).then(|| Arc::clone(topics.entry(name.into()).or_default()))
    }

    fn settle(&self, queue: &Queue, receipt: Receipt, verdict: Verdict) -> Result<Standing, StoreError> {
        let topic = self.of(queue)?;
        let mut topic = topic.lock();
        let open = topic.queues.get_mut(queue).ok_or_else(|| unknown(queue))?;
        let dropped = open.state.dead_dropped();
        let wakes = matches!(verdict, Verdict::Retry { .. }) || open.state.is_ordered();
        let standing = open.state.settle(receipt, verdict, self.bounds.dead, &self.clock);
        if wakes {
            // A waiting consumer has set its timer without knowing of this event, or of the next of its subject.
            open.arrived.notify_one();
        }
        if open.state.dead_dropped() > dropped {
            tracing::warn!(queue = %queue, limit = self.bounds.dead, "oldest dead letter dropped for a new one");
        }
        Ok(standing)
    }

    fn retire(&self, queue: &Queue) -> usize {
        let removed = self.topic(queue.pattern.topic()).and_then(|topic| topic.lock().queues.remove(queue));
        removed.map_or(0, |open| {
            open.arrived.notify_waiters(); // who waits learns that the queue is unknown
            open.state.unfinished()
        })
    }

    fn stats(&self) -> Vec<QueueStats> {
        let topics: Vec<_> =
            self.topics.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let now = self.clock.now();
        let mut stats = Vec::new();
        for topic in topics {
            stats.extend(topic.lock().queues.iter().map(|(queue, open)| open.state.stats(queue, now)));
        }
        stats.sort_by(|a, b| a.queue.cmp(&b.queue));
        stats
    }
}

impl Store for Memory {
    fn publish<'a>(&'a self, events: &'a [Arc<Envelope>]) -> Reply<'a, Result<Published, StoreError>> {
        Reply::ready(self.publish(events))
    }

    fn open<'a>(&'a self, queue: &'a Queue, opening: Opening) -> Reply<'a, Result<(), StoreError>> {
        let topic = self.made(queue.pattern.topic(), usize::MAX).expect("there is no bound");
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        Reply::ready(topic.open(queue, opening, life, self.clock.now()))
    }

    /// Answers at once if there is something; else it waits, and dropping the wait loses nothing.
    fn fetch<'a>(
        &'a self,
        queue: &'a Queue,
        want: Fetch<'a>,
    ) -> Reply<'a, Result<Vec<Delivery>, StoreError>> {
        let topic = match self.of(queue) {
            Ok(topic) => topic,
            Err(unknown) => return Reply::ready(Err(unknown)),
        };
        match topic.take(queue, &want, self.clock.now()) {
            Ok(taken) if taken.deliveries.is_empty() && !want.wait.is_zero() && want.credits > 0 => {
                Reply::pending(async move { topic.wait(queue, want, &self.clock).await })
            }
            taken => Reply::ready(taken.map(|taken| taken.deliveries)),
        }
    }

    fn settle<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        verdict: Verdict,
    ) -> Reply<'a, Result<Standing, StoreError>> {
        Reply::ready(self.settle(queue, receipt, verdict))
    }

    fn extend<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        visibility: Duration,
    ) -> Reply<'a, Result<Standing, StoreError>> {
        let now = self.clock.now();
        Reply::ready(self.of(queue).and_then(|topic| {
            let mut topic = topic.lock();
            let open = topic.queues.get_mut(queue).ok_or_else(|| unknown(queue))?;
            Ok(open.state.extend(receipt, visibility, now))
        }))
    }

    fn retire<'a>(&'a self, queue: &'a Queue) -> Reply<'a, Result<usize, StoreError>> {
        Reply::ready(Ok(self.retire(queue)))
    }

    fn stats(&self) -> Reply<'_, Result<Vec<QueueStats>, StoreError>> {
        Reply::ready(Ok(self.stats()))
    }

    fn dead_letters<'a>(
        &'a self,
        queue: &'a Queue,
        limit: usize,
    ) -> Reply<'a, Result<Vec<Dead>, StoreError>> {
        let topic = self.topic(queue.pattern.topic());
        let dead = topic.and_then(|topic| topic.lock().queues.get(queue).map(|open| open.state.dead(limit)));
        Reply::ready(Ok(dead.unwrap_or_default()))
    }

    fn redrive<'a>(&'a self, queue: &'a Queue, id: EventId) -> Reply<'a, Result<bool, StoreError>> {
        let now = self.clock.now();
        let redriven = self.topic(queue.pattern.topic()).is_some_and(|topic| {
            let mut topic = topic.lock();
            let place = topic.log.next_place();
            let Some(open) = topic.queues.get_mut(queue) else { return false };
            open.arrived.notify_one();
            open.state.redrive(id, place, now)
        });
        Reply::ready(Ok(redriven))
    }

    fn rewind<'a>(&'a self, queue: &'a Queue, from: Start) -> Reply<'a, Result<(), StoreError>> {
        Reply::ready(self.of(queue).and_then(|topic| topic.rewind(queue, from, self.clock.now())))
    }

    fn history<'a>(
        &'a self,
        pattern: &'a Pattern,
        from: Start,
        limit: usize,
    ) -> Reply<'a, Result<History, StoreError>> {
        let topic = self.topic(pattern.topic());
        let gap = matches!(from, Start::After(_));
        let history = topic.map(|topic| topic.history(pattern, from, limit));
        Reply::ready(Ok(history.unwrap_or_else(|| History::new(Vec::new(), gap))))
    }

    fn is_volatile(&self) -> bool {
        true
    }
}
