//! One topic: its queues, and the lock they share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::super::store::{Delivery, Fetch, Published};
use super::super::{Bounds, Envelope, Queue};
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
}

/// An open queue.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) state: State,
    /// Told of each event that becomes due before its waiter's timer.
    pub(super) arrived: Arc<Notify>,
}

impl Open {
    pub(super) fn new(life: u64) -> Self {
        Self { state: State::new(life), arrived: Arc::default() }
    }
}

impl Topic {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under this lock calls code that could panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publish(&self, events: &[Arc<Envelope>], bounds: &Bounds, now: Moment) -> Published {
        let mut inner = self.lock();
        let Inner { queues, seen } = &mut *inner;
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
            let mut taken = false;
            for (_, open) in queues.iter_mut().filter(|(queue, _)| queue.pattern.matches(&event.kind)) {
                open.state.push(Arc::clone(event), now);
                open.arrived.notify_one();
                taken = true;
            }
            if taken {
                seen.insert(event.id, now, bounds);
            }
        }
        Published::Accepted
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
