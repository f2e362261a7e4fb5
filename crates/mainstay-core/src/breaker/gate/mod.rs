//! What opens and closes: a lock-free front for calls while closed and refusals while open, and the books
//! behind a lock for everything that decides.
//!
//! A call through a closed gate reads [`Word`] and, when it ended, takes a *place*: one addition to the stripe of its
//! thread. A success in time has no more to do. A failure or a slow call takes its place under the lock, where the sum
//! of all stripes says which one it is, and notes it in the books. So the window is exact, as a call has one place and
//! the window is the last places; all that grows with it is off the path of success; and threads do not meet on it.
//!
//! **Which outcomes count.** The generation in the word changes with every state. An outcome of another
//! generation takes no place. If the generation changed while a success took one, it sees that when it looks at the
//! word again: a window begins with the sum of the stripes *after* the word changed, and as both are
//! read-modify-writes of the stripe, who adds to it later has seen the new word. It then notes a place as void, if what
//! its stripe was says that the window holds it.
//!
//! **Who judges.** Every noted outcome does. A success cannot raise a rate, but for two cases: it makes the
//! window reach `min_calls`, or an old success leaves a window of time in its place. `watch` is set while one
//! of them is possible, and then a success takes the lock, too. It cannot miss that: for each stripe, whoever sums
//! comes before an addition, which then sees what was set, or after it.

mod admit;
mod control;
mod counted;
mod dated;
mod ledger;
mod record;
mod round;
mod run;
mod word;

use std::sync::PoisonError;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::time::Duration;

use super::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, stripes, this_thread};
use super::{Mode, Policy, Reason, State};
use crate::time::{Moment, micros};
use ledger::Ledger;
use round::{Decision, Round};
use run::Run;
use word::Word;

pub(super) use ledger::Tally;
pub(super) use record::Unsettled;

/// The state of one breaker, without its name and its meters.
#[derive(Debug)]
pub(super) struct Gate {
    word: AtomicU64,
    /// Before this moment, in microseconds, a gate that is not closed lets nobody pass: open until then, or half-open
    /// with all probes under way.
    until: AtomicU64,
    /// From this moment on the next bucket of a time window has to be begun.
    turns_at: AtomicU64,
    /// Microseconds, as `cancel_after`; `u64::MAX` is never.
    slow_call: AtomicU64,
    cancel_after: AtomicU64,
    /// A success has to take the lock, too.
    watch: AtomicBool,
    /// Places taken; a power of two of stripes.
    places: Box<[Line<AtomicU64>]>,
    books: Mutex<Books>,
    /// Where between its bounds an open time lies: 0 to 1.
    jitter: fn() -> f64,
}

/// What calls write, away from what others write and all read. Two lines of 64 bytes: processors fetch pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Line<T>(T);

/// What the lock guards: all that the atomics before it mirror, and what only decisions need.
#[derive(Debug)]
struct Books {
    word: Word,
    until: Moment,
    watch: bool,
    policy: Policy,
    window: Ledger,
    run: Run,
    round: Round,
    /// Openings since it was last closed.
    openings: u32,
    /// What the stripes were when the window began.
    began: Box<[u64]>,
}

/// A place that was taken, as its stripe knows it.
#[derive(Debug, Clone, Copy)]
struct Place {
    stripe: usize,
    number: u64,
}

/// The right to one call, and the duty to say how it ended.
#[derive(Debug)]
pub(super) struct Ticket {
    kind: Kind,
    generation: u64,
    /// [`Moment::NEVER`] if it does not matter.
    begun: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Call,
    Probe(u64),
    /// Would have been refused if nobody only looked on.
    Shadow,
    Untracked,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
    FailureFor(Duration),
    Ignored,
    Cancelled,
}

/// An answer to who asks to pass.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) ticket: Result<Ticket, Refusal>,
    /// It would have been refused: in [`Mode::Observe`].
    pub(super) shadow: bool,
    /// Probes given up to make room.
    pub(super) lost: u32,
    pub(super) turn: Option<Turn>,
}

#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) state: State,
    pub(super) retry_after: Duration,
}

/// What an outcome led to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Record {
    pub(super) failed: bool,
    pub(super) slow: bool,
    /// Decided nothing: it belongs to an older generation.
    pub(super) late: bool,
    pub(super) lost: u32,
    pub(super) turn: Option<Turn>,
}

/// A change of state or mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) from: State,
    pub(super) to: State,
    pub(super) mode: Mode,
    pub(super) generation: u64,
    pub(super) reason: Reason,
}

/// How things stand.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) state: State,
    pub(super) mode: Mode,
    pub(super) tally: Tally,
    pub(super) retry_after: Duration,
}

impl Ticket {
    /// Whether it is to be counted how this ended.
    pub(super) fn is_tracked(&self) -> bool {
        self.kind != Kind::Untracked
    }
}

impl Gate {
    pub(super) fn new(policy: Policy, now: Moment, jitter: fn() -> f64) -> Self {
        let window = Ledger::new(policy.window, now, 0);
        let places: Box<[_]> = (0..stripes()).map(|_| Line(AtomicU64::new(0))).collect();
        let books = Books {
            word: Word::new(&policy),
            until: Moment::default(),
            watch: policy.consecutive_failures.is_none(),
            window,
            run: Run::default(),
            round: Round::default(),
            openings: 0,
            policy,
            began: places.iter().map(|_| 0).collect(),
        };
        Self {
            word: AtomicU64::new(books.word.bits()),
            until: AtomicU64::new(0),
            turns_at: AtomicU64::new(books.window.turns_at().as_micros()),
            slow_call: AtomicU64::new(micros(books.policy.slow_call)),
            cancel_after: AtomicU64::new(cancel_after(&books.policy)),
            watch: AtomicBool::new(books.watch),
            places,
            books: Mutex::new(books),
            jitter,
        }
    }

    /// Nothing under the lock calls foreign code but the clock, so a poisoned lock guards sound books.
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn word(&self) -> Word {
        Word::of(self.word.load(Acquire))
    }

    fn set_word(&self, books: &mut Books, word: Word) {
        books.word = word;
        self.word.store(word.bits(), Release);
    }

    fn set_until(&self, books: &mut Books, until: Moment) {
        if books.until != until {
            books.until = until;
            self.until.store(until.as_micros(), Release);
        }
    }

    fn set_watch(&self, books: &mut Books, watch: bool) {
        let watch = watch && books.policy.consecutive_failures.is_none();
        if books.watch != watch {
            books.watch = watch;
            self.watch.store(watch, Release);
        }
    }

    pub(super) fn state(&self) -> State {
        self.word().state()
    }

    pub(super) fn mode(&self) -> Mode {
        self.word().mode()
    }

    #[inline]
    fn take_place(&self) -> Place {
        let stripe = this_thread() & (self.places.len() - 1);
        Place { stripe, number: self.places[stripe].0.fetch_add(1, AcqRel) }
    }

    /// The place that is taken next: how many are. Read-modify-writes, so that who takes one later has seen all
    /// that was written before.
    fn next_place(&self) -> u64 {
        self.places.iter().map(|stripe| stripe.0.fetch_add(0, AcqRel)).sum()
    }

    /// Lets time pass in the window. What leaves it can raise a rate: from here on successes are judged, too,
    /// until one was.
    fn slide(&self, books: &mut Books, now: Moment) -> u64 {
        let turns = now >= books.window.turns_at();
        if turns {
            self.set_watch(books, true);
        }
        let next = self.next_place();
        books.window.slide(now, next);
        if turns {
            self.turns_at.store(books.window.turns_at().as_micros(), Release);
        }
        next
    }

    /// Ends a half-open round that is decided.
    fn decide(&self, books: &mut Books, now: Moment) -> Option<Turn> {
        if books.word.state() != State::HalfOpen {
            return None;
        }
        let (to, reason) = match books.round.decide(&books.policy)? {
            Decision::Close(reason) => (State::Closed, reason),
            Decision::Open(reason) => (State::Open, reason),
        };
        Some(self.turn(books, to, reason, now, None))
    }

    /// Says from when on there is room in a half-open round.
    fn set_room(&self, books: &mut Books) {
        if books.word.state() == State::HalfOpen {
            let room = books.round.next_room(&books.policy);
            self.set_until(books, room);
        }
    }

    /// Goes into another state.
    fn turn(
        &self,
        books: &mut Books,
        to: State,
        reason: Reason,
        now: Moment,
        asked: Option<Duration>,
    ) -> Turn {
        let before = books.word;
        match to {
            State::Closed => self.close(books, before, now),
            State::HalfOpen => {
                books.round.begin();
                self.set_until(books, Moment::default());
                self.set_word(books, before.next(to));
            }
            State::Open => {
                let time = asked.unwrap_or_else(|| self.open_time(books)).min(books.policy.open_max);
                books.openings = books.openings.saturating_add(1);
                self.set_until(books, now + time);
                self.set_word(books, before.next(to));
            }
        }
        Turn::between(before, books.word, reason)
    }

    /// `open_for`, doubled for each opening since it was closed, and jittered. Drawn from what `open_max` leaves of the
    /// range: cut off after the draw, half of all would come back at the same moment.
    fn open_time(&self, books: &Books) -> Duration {
        let Policy { open_for, open_max, .. } = books.policy;
        let factor = 1_u32.checked_shl(books.openings).unwrap_or(u32::MAX);
        let longest = open_for.saturating_mul(factor).min(open_max);
        let (least, most) = (longest.mul_f64(0.8), longest.mul_f64(1.2).min(open_max));
        least + (most - least).mul_f64((self.jitter)().clamp(0.0, 1.0))
    }

    /// Begins a window. The generation changes twice: once for outcomes of the state before to see, then,
    /// with the first place known, for the calls of this one.
    fn close(&self, books: &mut Books, before: Word, now: Moment) {
        let between = before.next(State::HalfOpen);
        self.set_until(books, Moment::default());
        self.set_word(books, between);
        for (began, stripe) in books.began.iter_mut().zip(&self.places) {
            *began = stripe.0.fetch_add(0, AcqRel);
        }
        books.window = Ledger::new(books.policy.window, now, books.began.iter().sum());
        books.run.clear();
        books.openings = 0;
        self.turns_at.store(books.window.turns_at().as_micros(), Release);
        self.set_watch(books, true);
        self.set_word(books, between.next(State::Closed));
    }
}

/// When being cancelled counts as a failure, in microseconds.
fn cancel_after(policy: &Policy) -> u64 {
    policy.cancel_is_failure_after.map_or(u64::MAX, micros)
}

impl Turn {
    fn between(before: Word, after: Word, reason: Reason) -> Self {
        Self {
            from: before.state(),
            to: after.state(),
            mode: after.mode(),
            generation: after.generation(),
            reason,
        }
    }
}
