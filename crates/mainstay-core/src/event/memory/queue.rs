//! One queue: a state machine.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::store::{Dead, Delivery, QueueStats, Receipt, Standing, Verdict};
use super::super::{Envelope, EventId, Queue};
use super::log::Retained;
use super::waiting::{Queued, Waiting};
use crate::time::{Clock, Moment};

/// An event is in `waiting`, in `held` or in `dead`, or it is done.
#[derive(Debug)]
pub(super) struct State {
    waiting: Waiting,
    /// Pending and delayed events by ticket, so that the first is the oldest.
    held: BTreeMap<u128, Held>,
    /// When each held event is due again.
    due: BTreeSet<(Moment, u128)>,
    dead: VecDeque<Dead>,
    dead_dropped: u64,
    delayed: usize,
    next_ticket: u128,
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
    /// An empty queue. Tickets begin where no other `life` of a queue of this name has any, so that a receipt
    /// does not stand for an event of a later one.
    pub(super) fn new(life: u64, ordered: bool) -> Self {
        Self {
            waiting: Waiting::new(ordered),
            held: BTreeMap::new(),
            due: BTreeSet::new(),
            dead: VecDeque::new(),
            dead_dropped: 0,
            delayed: 0,
            next_ticket: u128::from(life) << u64::BITS,
        }
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.waiting.is_ordered()
    }

    /// Events neither done nor dead.
    pub(super) fn unfinished(&self) -> usize {
        self.waiting.len() + self.held.len()
    }

    /// Queues an event behind all that came before `place`.
    pub(super) fn push(&mut self, event: Arc<Envelope>, place: u64, now: Moment) {
        let ticket = self.ticket();
        self.waiting.push(Queued { place, ticket, since: now, event });
    }

    /// Queues retained events where they belong, if they are not here already.
    pub(super) fn rewind<'a>(&mut self, retained: impl Iterator<Item = &'a Retained>, now: Moment) {
        let queued = self.waiting.iter().map(|queued| queued.event.id);
        let here: HashSet<_> = queued.chain(self.held.values().map(|held| held.event.id)).collect();
        let missing: Vec<_> = retained
            .filter(|retained| !here.contains(&retained.event.id))
            .map(|Retained { place, event, .. }| Queued {
                place: *place,
                ticket: self.ticket(),
                since: now,
                event: Arc::clone(event),
            })
            .collect();
        self.waiting.merge(missing.into_iter());
    }

    /// Delivers what is due again, then what is new.
    pub(super) fn take(&mut self, credits: usize, visibility: Duration, now: Moment) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(credits.min(self.unfinished()));
        while taken.len() < credits
            && let Some((_, ticket)) = self.due.first().copied().filter(|(due, _)| *due <= now)
        {
            let held = self.forget(ticket).expect("what is due is held");
            taken.push(self.hold(ticket, held, visibility, now));
        }
        while taken.len() < credits
            && let Some(Queued { ticket, since, event, .. }) = self.waiting.pop()
        {
            let fresh = Held { since, event, attempt: 0, due: now, pending: true };
            taken.push(self.hold(ticket, fresh, visibility, now));
        }
        taken
    }

    /// Whether somebody who comes now gets something.
    pub(super) fn has_due(&self, now: Moment) -> bool {
        self.waiting.is_ready() || self.next_due().is_some_and(|due| due <= now)
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
        let Some(ticket) = self.standing(receipt) else { return Standing::Gone };
        let held = self.forget(ticket).expect("a receipt that stands is of a held event");
        if !matches!(verdict, Verdict::Retry { .. }) {
            self.waiting.end(held.event.subject.as_deref());
        }
        match verdict {
            Verdict::Done => {}
            Verdict::Retry { after } => {
                self.insert(ticket, Held { due: clock.now() + after, pending: false, ..held });
            }
            Verdict::Dead { cause } => {
                // It was dead before, if the queue was rewound.
                self.dead.retain(|dead| dead.event.id != held.event.id);
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
        let Some(ticket) = self.standing(receipt) else { return Standing::Gone };
        let held = self.forget(ticket).expect("a receipt that stands is of a held event");
        self.insert(ticket, Held { due: now + visibility, ..held });
        Standing::Held
    }

    pub(super) fn dead(&self, limit: usize) -> Vec<Dead> {
        self.dead.iter().take(limit).cloned().collect()
    }

    pub(super) fn dead_dropped(&self) -> u64 {
        self.dead_dropped
    }

    /// Queues a dead letter as if it were published now, when the next event comes at `place`.
    pub(super) fn redrive(&mut self, id: EventId, place: u64, now: Moment) -> bool {
        let found = self.dead.iter().position(|dead| dead.event.id == id);
        let dead = found.and_then(|at| self.dead.remove(at));
        dead.map(|dead| self.push(dead.event, place, now)).is_some()
    }

    pub(super) fn stats(&self, queue: &Queue, now: Moment) -> QueueStats {
        let queued = self.waiting.iter().map(|queued| queued.since).min();
        let held = self.held.first_key_value().map(|(_, held)| held.since);
        QueueStats {
            ordered: self.is_ordered(),
            queued: self.waiting.len(),
            pending: self.held.len() - self.delayed,
            delayed: self.delayed,
            dead: self.dead.len(),
            dead_dropped: self.dead_dropped,
            oldest: queued.into_iter().chain(held).min().map(|since| now.saturating_since(since)),
            ..QueueStats::empty(queue.clone())
        }
    }

    fn ticket(&mut self) -> u128 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        ticket
    }

    fn standing(&self, receipt: Receipt) -> Option<u128> {
        let held = self.held.get(&receipt.position)?;
        (held.pending && held.attempt == receipt.attempt).then_some(receipt.position)
    }

    fn hold(&mut self, ticket: u128, held: Held, visibility: Duration, now: Moment) -> Delivery {
        let attempt = held.attempt.saturating_add(1);
        let receipt = Receipt { position: ticket, attempt };
        let delivery = Delivery::new(receipt, Arc::clone(&held.event));
        self.insert(ticket, Held { attempt, due: now + visibility, pending: true, ..held });
        delivery
    }

    fn insert(&mut self, ticket: u128, held: Held) {
        self.due.insert((held.due, ticket));
        self.delayed += usize::from(!held.pending);
        self.held.insert(ticket, held);
    }

    fn forget(&mut self, ticket: u128) -> Option<Held> {
        let held = self.held.remove(&ticket)?;
        self.due.remove(&(held.due, ticket));
        self.delayed -= usize::from(!held.pending);
        Some(held)
    }
}
