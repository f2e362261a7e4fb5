//! How calls ended, and what that means.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use super::super::{Reason, State};
use super::ledger::Mark;
use super::{Books, Gate, Kind, Outcome, Record, Ticket};
use crate::time::{Clock, Moment, micros};

/// The place a success took before it turned out that the books have to know of it.
#[derive(Debug, Default)]
pub(in super::super) struct Unsettled(Option<u64>);

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
        let place = self.next.0.fetch_add(1, AcqRel);
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
            Some(place) => self.note(ticket, place, Record::default(), None, clock),
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
            Kind::Call if self.word().generation() != ticket.generation => Record { late: true, ..record },
            Kind::Call if neutral => record,
            Kind::Call => {
                self.turn_bucket(now);
                let place = self.next.0.fetch_add(1, AcqRel);
                self.note(ticket, place, record, asked, clock)
            }
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

    /// Enters an outcome in the books and judges the window.
    #[cold]
    fn note(
        &self,
        ticket: &Ticket,
        place: u64,
        record: Record,
        asked: Option<Duration>,
        clock: &Clock,
    ) -> Record {
        let mut books = self.lock();
        let books = &mut *books;
        if books.word.generation() != ticket.generation {
            books.window.note(place, Mark::Void);
            return Record { late: true, ..record };
        }
        let now = clock.now();
        if let Some(mark) = Mark::of(record.failed, record.slow) {
            books.window.note(place, mark);
        }
        let in_a_row = match books.policy.consecutive_failures {
            Some(wanted) if record.failed => books.run.note(place, wanted).then_some(wanted),
            _ => None,
        };
        let too_high = self.judge(books, now);
        let reason = asked.map(Reason::Asked).or(in_a_row.map(Reason::Consecutive)).or(too_high);
        let turn = reason.map(|reason| self.turn(books, State::Open, reason, now, asked));
        Record { turn, ..record }
    }

    /// Whether a rate is too high.
    fn judge(&self, books: &mut Books, now: Moment) -> Option<Reason> {
        let next = self.slide(books, now);
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
