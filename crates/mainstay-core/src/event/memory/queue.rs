//! One queue: a state machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::store::{Dead, Delivery, QueueStats, Receipt, Standing, Verdict};
use super::super::{Envelope, EventId, Queue};
use crate::time::{Clock, Moment};

/// An event is in `queued`, in `held` or in `dead`, or it is done.
#[derive(Debug, Default)]
pub(super) struct State {
    queued: VecDeque<Queued>,
    /// Pending and delayed events by position, so that the first is the oldest.
    held: BTreeMap<u128, Held>,
    /// When each held event is due again.
    due: BTreeSet<(Moment, u128)>,
    dead: VecDeque<Dead>,
    dead_dropped: u64,
    delayed: usize,
    next_position: u128,
}

#[derive(Debug)]
struct Queued {
    position: u128,
    since: Moment,
    event: Arc<Envelope>,
}

#[derive(Debug)]
struct Held {
    since: Moment,
    event: Arc<Envelope>,
    attempt: u32,
    due: Moment,
    /// A receipt stands; otherwise the event is delayed.
    pending: bool,
}

impl State {
    /// An empty queue. Positions begin where no other `life` of a queue of this name has any, so that a receipt
    /// does not stand for an event of a later one.
    pub(super) fn new(life: u64) -> Self {
        Self { next_position: u128::from(life) << u64::BITS, ..Self::default() }
    }

    /// Events neither done nor dead.
    pub(super) fn unfinished(&self) -> usize {
        self.queued.len() + self.held.len()
    }

    pub(super) fn push(&mut self, event: Arc<Envelope>, now: Moment) {
        self.queued.push_back(Queued { position: self.next_position, since: now, event });
        self.next_position += 1;
    }

    /// Delivers what is due again, then what is new.
    pub(super) fn take(&mut self, credits: usize, visibility: Duration, now: Moment) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(credits.min(self.unfinished()));
        while taken.len() < credits
            && let Some((_, position)) = self.due.first().copied().filter(|(due, _)| *due <= now)
        {
            let held = self.forget(position).expect("what is due is held");
            taken.push(self.hold(position, held, visibility, now));
        }
        while taken.len() < credits
            && let Some(Queued { position, since, event }) = self.queued.pop_front()
        {
            let fresh = Held { since, event, attempt: 0, due: now, pending: true };
            taken.push(self.hold(position, fresh, visibility, now));
        }
        taken
    }

    /// Whether somebody who comes now gets something.
    pub(super) fn has_due(&self, now: Moment) -> bool {
        !self.queued.is_empty() || self.next_due().is_some_and(|due| due <= now)
    }

    /// When the next held event is due again.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(super) fn settle(
        &mut self,
        receipt: Receipt,
        verdict: Verdict,
        max_dead: usize,
        clock: &Clock,
    ) -> Standing {
        let Some(position) = self.standing(receipt) else { return Standing::Gone };
        let held = self.forget(position).expect("a receipt that stands is of a held event");
        match verdict {
            Verdict::Done => {}
            Verdict::Retry { after } => {
                self.insert(position, Held { due: clock.now() + after, pending: false, ..held });
            }
            Verdict::Dead { cause } => {
                self.dead.push_back(Dead::new(held.event, held.attempt, cause, clock.wall()));
                if self.dead.len() > max_dead {
                    self.dead.pop_front();
                    self.dead_dropped += 1;
                }
            }
        }
        Standing::Held
    }

    pub(super) fn extend(&mut self, receipt: Receipt, visibility: Duration, now: Moment) -> Standing {
        let Some(position) = self.standing(receipt) else { return Standing::Gone };
        let held = self.forget(position).expect("a receipt that stands is of a held event");
        self.insert(position, Held { due: now + visibility, ..held });
        Standing::Held
    }

    pub(super) fn dead(&self, limit: usize) -> Vec<Dead> {
        self.dead.iter().take(limit).cloned().collect()
    }

    pub(super) fn dead_dropped(&self) -> u64 {
        self.dead_dropped
    }

    pub(super) fn redrive(&mut self, id: EventId, now: Moment) -> bool {
        let found = self.dead.iter().position(|dead| dead.event.id == id);
        let dead = found.and_then(|at| self.dead.remove(at));
        dead.map(|dead| self.push(dead.event, now)).is_some()
    }

    pub(super) fn stats(&self, queue: &Queue, now: Moment) -> QueueStats {
        let queued = self.queued.front().map(|queued| queued.since);
        let held = self.held.first_key_value().map(|(_, held)| held.since);
        QueueStats {
            queued: self.queued.len(),
            pending: self.held.len() - self.delayed,
            delayed: self.delayed,
            dead: self.dead.len(),
            dead_dropped: self.dead_dropped,
            oldest: queued.into_iter().chain(held).min().map(|since| now.saturating_since(since)),
            ..QueueStats::empty(queue.clone())
        }
    }

    fn standing(&self, receipt: Receipt) -> Option<u128> {
        let held = self.held.get(&receipt.position)?;
        (held.pending && held.attempt == receipt.attempt).then_some(receipt.position)
    }

    fn hold(&mut self, position: u128, held: Held, visibility: Duration, now: Moment) -> Delivery {
        let attempt = held.attempt.saturating_add(1);
        let receipt = Receipt { position, attempt };
        let delivery = Delivery::new(receipt, Arc::clone(&held.event));
        self.insert(position, Held { attempt, due: now + visibility, pending: true, ..held });
        delivery
    }

    fn insert(&mut self, position: u128, held: Held) {
        self.due.insert((held.due, position));
        self.delayed += usize::from(!held.pending);
        self.held.insert(position, held);
    }

    fn forget(&mut self, position: u128) -> Option<Held> {
        let held = self.held.remove(&position)?;
        self.due.remove(&(held.due, position));
        self.delayed -= usize::from(!held.pending);
        Some(held)
    }
}
