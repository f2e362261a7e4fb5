//! The store in this process.

mod queue;
mod seen;
mod topic;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use self::topic::{Open, Topic, unknown};
use super::store::{
    Dead, Delivery, Fetch, History, Opening, Published, QueueStats, Receipt, Standing, Start, Store, Verdict,
};
use super::{Bounds, Envelope, EventId, Pattern, Queue};
use crate::store::{Reply, StoreError};
use crate::time::Clock;

/// Queues in this process: nothing to install, and gone with it.
///
/// An event that no queue takes is gone at once. Per queue it keeps at most [`Bounds::queue`] events (a redriven
/// dead letter may come on top) and [`Bounds::dead`] dead letters, per topic [`Bounds::dedup_ids`] ids; of a topic
/// without a queue it keeps nothing. Events themselves are shared by the queues, not copied.
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
        let topic = self.topic(first.kind.topic());
        Ok(topic.map_or(Published::Accepted, |topic| topic.publish(events, &self.bounds, self.clock.now())))
    }

    fn settle(&self, queue: &Queue, receipt: Receipt, verdict: Verdict) -> Result<Standing, StoreError> {
        let topic = self.of(queue)?;
        let mut topic = topic.lock();
        let open = topic.queues.get_mut(queue).ok_or_else(|| unknown(queue))?;
        let dropped = open.state.dead_dropped();
        let wakes = matches!(verdict, Verdict::Retry { .. });
        let standing = open.state.settle(receipt, verdict, self.bounds.dead, &self.clock);
        if wakes {
            // A waiting consumer has set its timer without knowing of this event.
            open.arrived.notify_one();
        }
        if open.state.dead_dropped() > dropped {
            tracing::warn!(queue = %queue, limit = self.bounds.dead, "oldest dead letter dropped for a new one");
        }
        Ok(standing)
    }

    fn retire(&self, queue: &Queue) -> usize {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let name = queue.pattern.topic();
        let Some(topic) = topics.get(name).cloned() else { return 0 };
        let mut topic = topic.lock();
        let removed = topic.queues.remove(queue);
        if topic.queues.is_empty() {
            topics.remove(name);
        }
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

    fn open<'a>(&'a self, queue: &'a Queue, _opening: Opening) -> Reply<'a, Result<(), StoreError>> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let topic = topics.entry(queue.pattern.topic().into()).or_default();
        let open = || Open::new(self.lives.fetch_add(1, Ordering::Relaxed));
        topic.lock().queues.entry(queue.clone()).or_insert_with(open);
        Reply::ready(Ok(()))
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
            let Some(open) = topic.queues.get_mut(queue) else { return false };
            open.arrived.notify_one();
            open.state.redrive(id, now)
        });
        Reply::ready(Ok(redriven))
    }

    fn rewind<'a>(&'a self, queue: &'a Queue, _from: Start) -> Reply<'a, Result<(), StoreError>> {
        Reply::ready(self.of(queue).map(|_| ()))
    }

    fn history<'a>(
        &'a self,
        _pattern: &'a Pattern,
        _from: Start,
        _limit: usize,
    ) -> Reply<'a, Result<History, StoreError>> {
        Reply::ready(Ok(History::new(Vec::new(), false)))
    }

    fn is_volatile(&self) -> bool {
        true
    }
}
