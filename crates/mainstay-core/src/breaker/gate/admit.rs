//! Who passes.

use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use super::super::{Mode, Reason, State};
use super::word::Word;
use super::{Admission, Books, Gate, Kind, Refusal, Ticket};
use crate::time::{Clock, Moment};

impl Gate {
    /// Lets a call pass while closed: one load, and the clock if the policy needs it.
    #[inline]
    pub(in super::super) fn pass(&self, clock: &Clock) -> Option<Ticket> {
        let word = self.word();
        word.lets_all_pass().then(|| {
            let begun = if word.is_timed() { clock.now() } else { Moment::NEVER };
            Ticket::new(Kind::Call, word, begun)
        })
    }

    /// Asks to pass. Lock-free while closed and while nobody can pass.
    #[cold]
    pub(in super::super) fn admit(&self, clock: &Clock) -> Admission {
        let (now, word) = (clock.now(), self.word());
        let until = Moment::from_micros(self.until.load(Acquire));
        if let Some(admission) = admit_at_once(word, now, until) {
            return admission;
        }
        let mut books = self.lock();
        match admit_at_once(books.word, now, books.until) {
            Some(admission) => admission,
            None => self.admit_probe(&mut books, now),
        }
    }

    /// The open time is over, or there is perhaps room for a probe.
    fn admit_probe(&self, books: &mut Books, now: Moment) -> Admission {
        let (turn, lost) = match books.word.state() {
            State::Open => (Some(self.turn(books, State::HalfOpen, Reason::TimeOver, now, None)), 0),
            State::HalfOpen | State::Closed => {
                let lost = books.round.reclaim(now);
                (self.decide(books, now), lost)
            }
        };
        let probe = match books.word.state() {
            State::HalfOpen => books.round.admit(now, &books.policy),
            State::Open | State::Closed => None,
        };
        self.set_room(books);
        let admission = match probe {
            None => refuse(books.word, now, books.until),
            Some(id) => Admission::pass(Ticket::new(Kind::Probe(id), books.word, now)),
        };
        Admission { lost, turn, ..admission }
    }
}

/// Whatever needs no look into the books.
fn admit_at_once(word: Word, now: Moment, until: Moment) -> Option<Admission> {
    match (word.mode(), word.state()) {
        (Mode::Disabled, _) => Some(Admission::pass(Ticket::new(Kind::Untracked, word, now))),
        (Mode::ForcedOpen, _) => Some(refuse(word, now, until)),
        (_, State::Closed) => Some(Admission::pass(Ticket::new(Kind::Call, word, now))),
        (_, State::Open | State::HalfOpen) => (now < until).then(|| refuse(word, now, until)),
    }
}

fn refuse(word: Word, now: Moment, until: Moment) -> Admission {
    if word.mode() == Mode::Observe {
        return Admission { shadow: true, ..Admission::pass(Ticket::new(Kind::Shadow, word, now)) };
    }
    let retry_after = wait(word, now, until).max(Duration::from_micros(1));
    let refusal = Refusal { state: word.state(), retry_after };
    Admission { ticket: Err(refusal), shadow: false, lost: 0, turn: None }
}

/// For one that is forced open `until` is no moment but a time.
pub(super) fn wait(word: Word, now: Moment, until: Moment) -> Duration {
    match (word.mode(), word.state()) {
        (Mode::ForcedOpen, _) => Duration::from_micros(until.as_micros()),
        (_, State::Closed) => Duration::ZERO,
        (_, State::Open | State::HalfOpen) => until.saturating_since(now),
    }
}

impl Admission {
    fn pass(ticket: Ticket) -> Self {
        Self { ticket: Ok(ticket), shadow: false, lost: 0, turn: None }
    }
}

impl Ticket {
    #[inline]
    fn new(kind: Kind, word: Word, begun: Moment) -> Self {
        Self { kind, generation: word.generation(), begun }
    }
}
