//! One topic: its queues, and the lock they share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::super::store::{Delivery, Fetch, Published};
use super::super::{Bounds, Envelope, History, Opening, Pattern, Queue, Start};
use super::log::Log;
use super::queue::State;
use super::seen::Seen;
use crate::store::StoreError;
use crate::time::{Clock, Moment};

/// All queues of a topic are under one lock, so that an event reaches all of them or none.
#[derive(Debug, Default)]
pub(super) struct Topic(Mutex<Inner>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) queues: HashMap<Queue, Open, foldhash::fast::RandomState>,
    seen: Seen,
    pub(super) log: Log,
}

/// An open queue.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) state: State,
    /// Told of each event that becomes due before its waiter's timer.
    pub(super) arrived: Arc<Notify>,
}

impl Open {
    fn rewind(&mut self, queue: &Queue, log: &Log, start: Start, now: Moment) {
        self.state
            .rewind(log.since(start).filter(|retained| queue.pattern.matches(&retained.event.kind)), now);
        self.arrived.notify_one();
    }
}

impl Topic {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under this lock calls code that could panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publish(&self, events: &[Arc<Envelope>], bounds: &Bounds, clock: &Clock) -> Published {
        let (now, wall) = (clock.now(), clock.wall());
        let mut inner = self.lock();
        let Inner { queues, seen, log } = &mut *inner;
        seen.forget_old(now, bounds);
        let is_new = |event: &&Arc<Envelope>| !seen.contains(event.id);
        let has_room = |(queue, open): (&Queue, &Open)| {
            let takes = |event: &&Arc<Envelope>| queue.pattern.matches(&event.kind);
            let coming = events.iter().filter(is_new).filter(takes).count();
            coming == 0 || open.state.unfinished() + coming <= bounds.queue
        };
        if !queues.iter().all(has_room) {
            return Published::Full;
        }
        for event in events {
            if seen.contains(event.id) {
                continue;
            }
            seen.insert(event.id, now, bounds);
            let place = log.push(Arc::clone(event), wall, bounds);
            for (_, open) in queues.iter_mut().filter(|(queue, _)| queue.pattern.matches(&event.kind)) {
                open.state.push(Arc::clone(event), place, now);
                open.arrived.notify_one();
            }
        }
        Published::Accepted
    }

    /// Makes the queue of a life of its own, if there is none.
    pub(super) fn open(
        &self,
        queue: &Queue,
        opening: Opening,
        life: u64,
        now: Moment,
    ) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let Inner { queues, log, .. } = &mut *inner;
        match queues.get(queue) {
            Some(open) if open.state.is_ordered() != opening.ordered => {
                let is = if opening.ordered { "is not ordered" } else { "is ordered" };
                Err(StoreError::rejected(format!("the queue {queue} {is}: all that open it must agree")))
            }
            Some(_) => Ok(()),
            None => {
                let mut open = Open { state: State::new(life, opening.ordered), arrived: Arc::default() };
                open.rewind(queue, log, opening.from, now);
                queues.insert(queue.clone(), open);
                Ok(())
            }
        }
    }

    pub(super) fn rewind(&self, queue: &Queue, start: Start, now: Moment) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let Inner { queues, log, .. } = &mut *inner;
        queues.get_mut(queue).ok_or_else(|| unknown(queue))?.rewind(queue, log, start, now);
        Ok(())
    }

    pub(super) fn history(&self, pattern: &Pattern, start: Start, limit: usize) -> History {
        self.lock().log.history(pattern, start, limit)
    }

    /// Takes what is there.
    pub(super) fn take(&self, queue: &Queue, want: &Fetch<'_>, now: Moment) -> Result<Taken, StoreError> {
        let mut inner = self.lock();
        let open = inner.queues.get_mut(queue).ok_or_else(|| unknown(queue))?;
        let deliveries = open.state.take(want.credits, want.visibility, now);
        if open.state.has_due(now) {
            // One notification may stand for several events: pass it on.
            open.arrived.notify_one();
        }
        Ok(Taken { deliveries, next_due: open.state.next_due(), arrived: Arc::clone(&open.arrived) })
    }

    /// Takes what is there as soon as there is something, or nothing after `want.wait`.
    pub(super) async fn wait(
        &self,
        queue: &Queue,
        want: Fetch<'_>,
        clock: &Clock,
    ) -> Result<Vec<Delivery>, StoreError> {
        let end = clock.now() + want.wait;
        loop {
            let now = clock.now();
            let Taken { deliveries, next_due, arrived } = self.take(queue, &want, now)?;
            if !deliveries.is_empty() || now >= end {
                return Ok(deliveries);
            }
            let pause = next_due.unwrap_or(end).min(end).saturating_since(now);
            // Timers count in milliseconds; the clock may be one short of the moment it was set for.
            let pause = pause.max(Duration::from_millis(1));
            let _whichever_comes_first = tokio::time::timeout(pause, arrived.notified()).await;
        }
    }
}

pub(super) struct Taken {
    pub(super) deliveries: Vec<Delivery>,
    next_due: Option<Moment>,
    arrived: Arc<Notify>,
}

pub(super) fn unknown(queue: &Queue) -> StoreError {
    StoreError::rejected(format!("no queue {queue} is open"))
}
