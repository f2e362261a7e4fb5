//! What operators and dashboards do.

use std::sync::atomic::Ordering::{Relaxed, Release};

use super::super::{Mode, Policy, Reason, State};
use super::admit::wait;
use super::{Gate, Standing, Turn, cancel_after};
use crate::time::{Clock, Moment, micros};

impl Gate {
    /// Changes the mode. Between [`Mode::Automatic`] and [`Mode::Observe`] all goes on; from the two others it
    /// begins closed and empty.
    pub(in super::super) fn force(&self, mode: Mode, clock: &Clock) -> Option<Turn> {
        let now = clock.now();
        let mut books = self.lock();
        let books = &mut *books;
        let before = books.word;
        if before.mode() == mode {
            return None;
        }
        let word = before.with_mode(mode);
        match mode {
            Mode::Automatic | Mode::Observe if before.is_by_hand() => self.close(books, word, now),
            Mode::Automatic | Mode::Observe => self.set_word(books, word),
            Mode::ForcedOpen => {
                self.set_until(books, open_for(&books.policy));
                self.set_word(books, word.next(State::Open));
            }
            Mode::Disabled => self.set_word(books, word.next(State::Closed)),
        }
        Some(Turn::between(before, books.word, Reason::Forced(mode)))
    }

    /// Closed, with an empty window; nothing while it is forced open or disabled.
    pub(in super::super) fn reset(&self, clock: &Clock) -> Option<Turn> {
        let now = clock.now();
        let mut books = self.lock();
        let before = books.word;
        if before.is_by_hand() {
            return None;
        }
        self.close(&mut books, before, now);
        Some(Turn::between(before, books.word, Reason::Reset))
    }

    /// Swaps the policy. Tickets stay good and the window keeps its calls; a half-open round is judged by the
    /// new policy at once, a window at the next outcome.
    pub(in super::super) fn configure(&self, policy: Policy, clock: &Clock) -> (Option<Turn>, u32) {
        let now = clock.now();
        let mut books = self.lock();
        let books = &mut *books;
        let next = self.slide(books, now);
        self.slow_call.store(micros(policy.slow_call), Relaxed);
        self.cancel_after.store(cancel_after(&policy), Relaxed);
        books.policy = policy;
        books.window.become_window(books.policy.window, now, next);
        self.turns_at.store(books.window.turns_at().as_micros(), Release);
        self.set_watch(books, true);
        self.set_word(books, books.word.with_policy(&books.policy));
        let mut lost = 0;
        match books.word.state() {
            State::Open if books.word.is_by_hand() => self.set_until(books, open_for(&books.policy)),
            State::Closed => {}
            State::Open => {
                let until = books.until.min(now + books.policy.open_max);
                self.set_until(books, until);
            }
            State::HalfOpen => {
                books.round.shorten(now + books.policy.probe_lease);
                lost = books.round.reclaim(now);
            }
        }
        let turn = self.decide(books, now);
        self.set_room(books);
        (turn, lost)
    }

    pub(in super::super) fn policy(&self) -> Policy {
        self.lock().policy.clone()
    }

    pub(in super::super) fn standing(&self, clock: &Clock) -> Standing {
        let now = clock.now();
        let mut books = self.lock();
        let books = &mut *books;
        let next = match books.word.state() {
            State::Closed => self.slide(books, now),
            // What opened it stays to be seen.
            State::Open | State::HalfOpen => self.next_place(),
        };
        Standing {
            state: books.word.state(),
            mode: books.word.mode(),
            tally: books.window.tally(next),
            retry_after: wait(books.word, now, books.until),
        }
    }
}

/// What one that is forced open says in the place of a moment.
fn open_for(policy: &Policy) -> Moment {
    Moment::from_micros(micros(policy.open_for))
}
