//! How calls ended, and what that means.

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use super::super::{Reason, State};
use super::ledger::Mark;
use super::{Books, Gate, Kind, Outcome, Place, Record, Ticket};
use crate::time::{Clock, Moment, micros};

/// The place that a success took before it turned out that the books have to know of it.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Unsettled(Option<Place>);

impl Gate {
    /// Takes back the ticket of a call that succeeded, if that needs no look into the books: one addition between
    /// two loads. Else says what to go on with.
    #[inline]
    pub(in super::super) fn succeed(&self, ticket: &Ticket, clock: &Clock) -> Result<(), Unsettled> {
        let word = self.word();
        if ticket.kind != Kind::Call || word.generation() != ticket.generation {
            return Err(Unsettled(None));
        }
        if word.needs_clock() {
            let now = clock.now();
            if self.is_slow(ticket, now) {
                return Err(Unsettled(None));
            }
            self.turn_bucket(now);
        }
        let place = self.take_place();
        if self.word().generation() == ticket.generation && !self.watch.load(Acquire) {
            return Ok(());
        }
        Err(Unsettled(Some(place)))
    }

    /// Takes back a ticket.
    #[cold]
    pub(in super::super) fn record(
        &self,
        ticket: &Ticket,
        outcome: Outcome,
        unsettled: Unsettled,
        clock: &Clock,
    ) -> Record {
        match unsettled.0 {
            Some(place) => self.settle(ticket, place, clock.now()),
            None => self.record_other(ticket, outcome, clock),
        }
    }

    fn record_other(&self, ticket: &Ticket, outcome: Outcome, clock: &Clock) -> Record {
        let now = clock.now();
        let (neutral, asked) = match outcome {
            Outcome::Success | Outcome::Failure => (false, None),
            Outcome::FailureFor(time) => (false, Some(time)),
            Outcome::Ignored => (true, None),
            Outcome::Cancelled => (!self.is_cancelled_late(ticket, now), None),
        };
        let failed = !neutral && outcome != Outcome::Success;
        let record = Record { failed, slow: !neutral && self.is_slow(ticket, now), ..Record::default() };
        match ticket.kind {
            Kind::Shadow | Kind::Untracked => record,
            Kind::Probe(id) => self.end_probe(ticket, id, neutral, record, asked, now),
            Kind::Call if neutral => Record { late: self.word().generation() != ticket.generation, ..record },
            Kind::Call => self.note(ticket, record, asked, now),
        }
    }

    #[inline]
    fn is_slow(&self, ticket: &Ticket, now: Moment) -> bool {
        let slow_call = self.slow_call.load(Relaxed);
        slow_call != u64::MAX && micros(now.saturating_since(ticket.begun)) >= slow_call
    }

    fn is_cancelled_late(&self, ticket: &Ticket, now: Moment) -> bool {
        let cancel_after = self.cancel_after.load(Relaxed);
        cancel_after != u64::MAX && micros(now.saturating_since(ticket.begun)) >= cancel_after
    }

    #[inline]
    fn turn_bucket(&self, now: Moment) {
        if now.as_micros() >= self.turns_at.load(Acquire) {
            self.turn_bucket_now(now);
        }
    }

    #[cold]
    fn turn_bucket_now(&self, now: Moment) {
        self.slide(&mut self.lock(), now);
    }

    /// Judges the window after a success that already took its place.
    fn settle(&self, ticket: &Ticket, place: Place, now: Moment) -> Record {
        let mut books = self.lock();
        let books = &mut *books;
        let next = self.slide(books, now);
        if books.word.generation() != ticket.generation {
            if place.number >= books.began[place.stripe] {
                books.window.note(next - 1, Mark::Void);
            }
            return Record { late: true, ..Record::default() };
        }
        let turn = self.judge(books, next).map(|reason| self.turn(books, State::Open, reason, now, None));
        Record { turn, ..Record::default() }
    }

    /// Enters an outcome in the books and judges the window.
    fn note(&self, ticket: &Ticket, record: Record, asked: Option<Duration>, now: Moment) -> Record {
        let mut books = self.lock();
        let books = &mut *books;
        if books.word.generation() != ticket.generation {
            return Record { late: true, ..record };
        }
        if now >= books.window.turns_at() {
            self.slide(books, now);
        }
        self.take_place();
        let next = self.slide(books, now);
        let place = next - 1;
        if let Some(mark) = Mark::of(record.failed, record.slow) {
            books.window.note(place, mark);
        }
        let in_a_row = match books.policy.consecutive_failures {
            Some(wanted) if record.failed => books.run.note(place, wanted).then_some(wanted),
            _ => None,
        };
        let too_high = self.judge(books, next);
        let reason = asked.map(Reason::Asked).or(in_a_row.map(Reason::Consecutive)).or(too_high);
        let turn = reason.map(|reason| self.turn(books, State::Open, reason, now, asked));
        Record { turn, ..record }
    }

    /// Whether a rate of the window up to `next` is too high.
    fn judge(&self, books: &mut Books, next: u64) -> Option<Reason> {
        let tally = books.window.tally(next);
        let enough = tally.calls >= books.policy.min_calls.into();
        self.set_watch(books, !enough);
        if !enough || books.policy.consecutive_failures.is_some() {
            return None;
        }
        if tally.failures > 0 && tally.failure_rate() >= books.policy.failure_rate {
            return Some(Reason::FailureRate { failures: tally.failures, calls: tally.calls });
        }
        (tally.slow > 0 && tally.slow_rate() >= books.policy.slow_rate)
            .then_some(Reason::SlowRate { slow: tally.slow, calls: tally.calls })
    }

    fn end_probe(
        &self,
        ticket: &Ticket,
        id: u64,
        neutral: bool,
        record: Record,
        asked: Option<Duration>,
        now: Moment,
    ) -> Record {
        let mut books = self.lock();
        let books = &mut *books;
        if books.word.generation() != ticket.generation {
            return Record { late: true, ..record };
        }
        let lost = books.round.reclaim(now);
        let late = !books.round.release(id);
        if !late && !neutral {
            books.round.note(record.failed, record.slow);
        }
        let turn = match asked {
            Some(time) if !late => Some(self.turn(books, State::Open, Reason::Asked(time), now, Some(time))),
            _ => self.decide(books, now),
        };
        self.set_room(books);
        Record { late, lost, turn, ..record }
    }
}
