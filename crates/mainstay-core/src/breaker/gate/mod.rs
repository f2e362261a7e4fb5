//! What opens and closes: a lock-free front for calls while closed and refusals while open, and the books
//! behind a lock for everything that decides.
//!
//! A call through a closed gate reads [`Word`] and, when it ended, takes a *place*: one addition to `next`.
//! A success in time has no more to do. A failure or a slow call also notes its place in the books. So the
//! window is exact, as a call has one place and the window is the last places, and all that grows with it
//! is off the path of success.
//!
//! **Which outcomes count.** The generation in the word changes with every state. An outcome of another
//! generation takes no place. If the generation changed while it took one, it sees that when it looks at the word
//! again: a window begins with the place that is next *after* the word changed, so that who took a later one came
//! later than the change, and both are read-modify-writes of `next`. It then notes the place as void.
//!
//! **Who judges.** Every noted outcome does. A success cannot raise a rate, but for two cases: it makes the
//! window reach `min_calls`, or an old success leaves a window of time in its place. `watch` is set while one
//! of them is possible, and then a success takes the lock, too.

mod counted;
mod dated;
mod ledger;
mod round;
mod run;
mod word;

use std::sync::PoisonError;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard};
use super::{Mode, Policy, Reason, State};
use crate::time::{Clock, Moment, micros};
use ledger::{Ledger, Mark};
use round::{Decision, Round};
use run::Run;
use word::Word;

pub(super) use ledger::Tally;

/// The state of one breaker, without its name and its meters.
#[derive(Debug)]
pub(super) struct Gate {
    word: AtomicU64,
    /// Before this moment, in microseconds, a gate that is not closed lets nobody pass: open until then, or half-open
    /// with all probes under way.
    until: AtomicU64,
    /// From this moment on the next bucket of a time window has to be begun.
    turns_at: AtomicU64,
    slow_call: AtomicU64,
    cancel_after: AtomicU64,
    /// A success has to take the lock, too.
    watch: AtomicBool,
    next: Line<AtomicU64>,
    books: Mutex<Books>,
    /// Where in 0.8 to 1.2 of itself an open time lies.
    jitter: fn() -> f64,
}

/// The one word that every call writes, away from those that it reads.
#[derive(Debug)]
#[repr(align(128))]
struct Line<T>(T);

#[derive(Debug)]
struct Books {
    policy: Policy,
    window: Ledger,
    run: Run,
    round: Round,
    /// Openings since it was last closed.
    openings: u32,
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

impl Admission {
    #[inline]
    fn pass(ticket: Ticket) -> Self {
        Self { ticket: Ok(ticket), shadow: false, lost: 0, turn: None }
    }
}

impl Gate {
    pub(super) fn new(policy: Policy, now: Moment, jitter: fn() -> f64) -> Self {
        let window = Ledger::new(policy.window, now, 0);
        let gate = Self {
            word: AtomicU64::new(Word::new(&policy).bits()),
            until: AtomicU64::new(0),
            turns_at: AtomicU64::new(window.turns_at().as_micros()),
            slow_call: AtomicU64::new(0),
            cancel_after: AtomicU64::new(0),
            watch: AtomicBool::new(policy.consecutive_failures.is_none()),
            next: Line(AtomicU64::new(0)),
            books: Mutex::new(Books {
                window,
                run: Run::default(),
                round: Round::default(),
                openings: 0,
                policy,
            }),
            jitter,
        };
        gate.publish(&gate.lock().policy);
        gate
    }

    fn publish(&self, policy: &Policy) {
        let cancel_after = policy.cancel_is_failure_after.map_or(u64::MAX, micros);
        self.slow_call.store(micros(policy.slow_call), Relaxed);
        self.cancel_after.store(cancel_after, Relaxed);
    }

    /// Nothing under the lock calls foreign code but the clock, so a poisoned lock guards sound books.
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn word(&self) -> Word {
        Word::of(self.word.load(Acquire))
    }

    fn set_word(&self, word: Word) {
        self.word.store(word.bits(), Release);
    }

    pub(super) fn state(&self) -> State {
        self.word().state()
    }

    pub(super) fn mode(&self) -> Mode {
        self.word().mode()
    }

    /// The place that the next outcome takes. A read-modify-write, so that who takes one later has seen all that
    /// was written before.
    fn next_place(&self) -> u64 {
        self.next.0.fetch_add(0, AcqRel)
    }

    /// Asks to pass. Lock-free while closed and while nobody can pass.
    #[inline]
    pub(super) fn admit(&self, clock: &Clock) -> Admission {
        let word = self.word();
        if !word.lets_all_pass() {
            return self.admit_open(word, clock);
        }
        let begun = if word.is_timed() { clock.now() } else { Moment::NEVER };
        Admission::pass(Ticket { kind: Kind::Call, generation: word.generation(), begun })
    }

    #[cold]
    fn admit_open(&self, word: Word, clock: &Clock) -> Admission {
        let now = clock.now();
        if let Some(admission) = self.admit_at_once(word, now) {
            return admission;
        }
        let mut books = self.lock();
        let word = self.word();
        if let Some(admission) = self.admit_at_once(word, now) {
            return admission;
        }
        self.admit_probe(&mut books, word, now)
    }

    /// Whatever needs no look into the books.
    fn admit_at_once(&self, word: Word, now: Moment) -> Option<Admission> {
        let ticket = |kind| Ticket { kind, generation: word.generation(), begun: now };
        match word.mode() {
            Mode::Disabled => return Some(Admission::pass(ticket(Kind::Untracked))),
            Mode::ForcedOpen => {
                return Some(refuse(word, now, Moment::from_micros(self.until.load(Acquire))));
            }
            Mode::Automatic | Mode::Observe => {}
        }
        if word.state() == State::Closed {
            return Some(Admission::pass(ticket(Kind::Call)));
        }
        let until = Moment::from_micros(self.until.load(Acquire));
        (now < until).then(|| refuse(word, now, until))
    }

    /// The open time is over, or there is perhaps room for a probe.
    fn admit_probe(&self, books: &mut Books, word: Word, now: Moment) -> Admission {
        let (mut turn, mut lost, mut word) = (None, 0, word);
        if word.state() == State::Open {
            turn = Some(self.turn(books, word, State::HalfOpen, Reason::TimeOver, now, None));
        } else {
            lost = books.round.reclaim(now);
            turn = turn.or_else(|| self.decide(books, word, now));
        }
        if turn.is_some() {
            word = self.word();
        }
        let probe = match word.state() {
            State::HalfOpen => books.round.admit(now, &books.policy),
            State::Open | State::Closed => None,
        };
        self.set_room(books, word);
        let until = Moment::from_micros(self.until.load(Relaxed));
        let admission = match probe {
            None => refuse(word, now, until),
            Some(id) => {
                let ticket = Ticket { kind: Kind::Probe(id), generation: word.generation(), begun: now };
                Admission::pass(ticket)
            }
        };
        Admission { lost, turn, ..admission }
    }

    /// Says from when on there is room in a round.
    fn set_room(&self, books: &Books, word: Word) {
        if word.state() == State::HalfOpen && !matches!(word.mode(), Mode::ForcedOpen) {
            self.until.store(books.round.next_room(&books.policy).as_micros(), Release);
        }
    }

    /// Takes back a ticket.
    #[inline]
    pub(super) fn record(&self, ticket: &Ticket, outcome: Outcome, clock: &Clock) -> Record {
        let word = self.word();
        if ticket.kind != Kind::Call || outcome != Outcome::Success {
            return self.record_other(ticket, outcome, clock);
        }
        let mut record = Record::default();
        if word.generation() != ticket.generation {
            record.late = true;
            return record;
        }
        if word.is_timed() || word.is_dated() {
            let now = clock.now();
            record.slow = self.is_slow(ticket, now);
            self.turn_bucket(now);
        }
        let place = self.next.0.fetch_add(1, AcqRel);
        if !record.slow && self.word().generation() == ticket.generation && !self.watch.load(Acquire) {
            return record;
        }
        self.note(ticket, place, record, None, clock)
    }

    #[inline]
    fn is_slow(&self, ticket: &Ticket, now: Moment) -> bool {
        let slow_call = self.slow_call.load(Relaxed);
        slow_call != u64::MAX && micros(now.saturating_since(ticket.begun)) >= slow_call
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

    /// What left the window can raise a rate: from here on successes are judged, too, until one was.
    fn slide(&self, books: &mut Books, now: Moment) -> u64 {
        if now.as_micros() >= self.turns_at.load(Relaxed) && books.policy.consecutive_failures.is_none() {
            self.watch.store(true, Release);
        }
        let next = self.next_place();
        books.window.slide(now, next);
        self.turns_at.store(books.window.turns_at().as_micros(), Release);
        next
    }

    #[cold]
    fn record_other(&self, ticket: &Ticket, outcome: Outcome, clock: &Clock) -> Record {
        let now = clock.now();
        let held = now.saturating_since(ticket.begun);
        let (neutral, asked) = match outcome {
            Outcome::Success | Outcome::Failure => (false, None),
            Outcome::FailureFor(time) => (false, Some(time)),
            Outcome::Ignored => (true, None),
            Outcome::Cancelled => (micros(held) < self.cancel_after.load(Relaxed), None),
        };
        let failed = !neutral && outcome != Outcome::Success;
        let slow = !neutral && self.is_slow(ticket, now);
        let late = ticket.generation != self.word().generation();
        let record = Record { failed, slow, late, ..Record::default() };
        match ticket.kind {
            Kind::Shadow | Kind::Untracked => Record { late: false, ..record },
            Kind::Probe(id) => self.end_probe(ticket, id, neutral, record, asked, now),
            Kind::Call if neutral || late => record,
            Kind::Call => {
                self.turn_bucket(now);
                let place = self.next.0.fetch_add(1, AcqRel);
                self.note(ticket, place, record, asked, clock)
            }
        }
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
        let word = self.word();
        if word.generation() != ticket.generation {
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
        let reason = match asked {
            Some(time) => Some(Reason::Asked(time)),
            None => in_a_row.map(Reason::Consecutive).or_else(|| self.judge(books, now)),
        };
        let turn = reason.map(|reason| self.turn(books, word, State::Open, reason, now, asked));
        Record { turn, ..record }
    }

    /// Whether a rate is too high.
    fn judge(&self, books: &mut Books, now: Moment) -> Option<Reason> {
        let next = self.slide(books, now);
        let (policy, tally) = (&books.policy, books.window.tally(next));
        if policy.consecutive_failures.is_some() {
            return None;
        }
        let enough = tally.calls >= policy.min_calls.into();
        self.watch.store(!enough, Release);
        if enough && tally.failures > 0 && tally.failure_rate() >= policy.failure_rate {
            return Some(Reason::FailureRate { failures: tally.failures, calls: tally.calls });
        }
        (enough && tally.slow > 0 && tally.slow_rate() >= policy.slow_rate)
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
        let word = self.word();
        if word.generation() != ticket.generation {
            return Record { late: true, ..record };
        }
        let lost = books.round.reclaim(now);
        let late = !books.round.release(id);
        if !late && !neutral {
            books.round.note(record.failed, record.slow);
        }
        let turn = match asked {
            Some(time) if !late => {
                Some(self.turn(books, word, State::Open, Reason::Asked(time), now, Some(time)))
            }
            _ => self.decide(books, word, now),
        };
        self.set_room(books, self.word());
        Record { late, lost, turn, ..record }
    }

    /// Ends a half-open round that is decided.
    fn decide(&self, books: &mut Books, word: Word, now: Moment) -> Option<Turn> {
        if word.state() != State::HalfOpen {
            return None;
        }
        let (to, reason) = match books.round.decide(&books.policy)? {
            Decision::Close(reason) => (State::Closed, reason),
            Decision::Open(reason) => (State::Open, reason),
        };
        Some(self.turn(books, word, to, reason, now, None))
    }

    /// Goes into another state.
    fn turn(
        &self,
        books: &mut Books,
        word: Word,
        to: State,
        reason: Reason,
        now: Moment,
        asked: Option<Duration>,
    ) -> Turn {
        match to {
            State::Closed => self.close(books, word, now),
            State::HalfOpen => {
                books.round.begin();
                self.until.store(0, Release);
                self.set_word(word.next(to));
            }
            State::Open => {
                let time = asked.unwrap_or_else(|| self.open_time(books)).min(books.policy.open_max);
                books.openings = books.openings.saturating_add(1);
                // Until the word says "open" nobody reads this, or one of the round that just ended.
                self.until.store((now + time).as_micros(), Release);
                self.set_word(word.next(to));
            }
        }
        let after = self.word();
        Turn { from: word.state(), to, mode: after.mode(), generation: after.generation(), reason }
    }

    /// `open_for`, doubled for each opening since it was closed, and jittered.
    fn open_time(&self, books: &Books) -> Duration {
        let Policy { open_for, open_max, .. } = books.policy;
        let factor = 1_u32.checked_shl(books.openings).unwrap_or(u32::MAX);
        let longest = open_for.saturating_mul(factor).min(open_max);
        longest.mul_f64((self.jitter)().clamp(0.8, 1.2))
    }

    /// Begins a window. The generation changes twice: once for outcomes of the state before to see, then,
    /// with the first place known, for the calls of this one.
    fn close(&self, books: &mut Books, word: Word, now: Moment) {
        self.until.store(0, Release);
        let between = word.next(State::HalfOpen);
        self.set_word(between);
        books.window = Ledger::new(books.policy.window, now, self.next_place());
        books.run.clear();
        books.openings = 0;
        self.turns_at.store(books.window.turns_at().as_micros(), Release);
        self.watch.store(books.policy.consecutive_failures.is_none(), Release);
        self.set_word(between.next(State::Closed));
    }

    /// Changes the mode. Between [`Mode::Automatic`] and [`Mode::Observe`] all goes on; from the two others it
    /// begins closed and empty.
    pub(super) fn force(&self, mode: Mode, clock: &Clock) -> Option<Turn> {
        let now = clock.now();
        let mut books = self.lock();
        let books = &mut *books;
        let word = self.word();
        let before = word.mode();
        if before == mode {
            return None;
        }
        let by_hand = |mode| matches!(mode, Mode::ForcedOpen | Mode::Disabled);
        match mode {
            Mode::Automatic | Mode::Observe if by_hand(before) => {
                self.close(books, word.with_mode(mode), now);
            }
            Mode::Automatic | Mode::Observe => self.set_word(word.with_mode(mode)),
            Mode::ForcedOpen => {
                self.until.store(micros(books.policy.open_for), Release);
                self.set_word(word.with_mode(mode).next(State::Open));
            }
            Mode::Disabled => self.set_word(word.with_mode(mode).next(State::Closed)),
        }
        Some(self.by_hand(word, Reason::Forced(mode)))
    }

    /// Closed, with an empty window; the mode stays, and one that is forced open stays open.
    pub(super) fn reset(&self, clock: &Clock) -> Option<Turn> {
        let now = clock.now();
        let mut books = self.lock();
        let word = self.word();
        if matches!(word.mode(), Mode::ForcedOpen | Mode::Disabled) {
            return None;
        }
        self.close(&mut books, word, now);
        Some(self.by_hand(word, Reason::Reset))
    }

    fn by_hand(&self, before: Word, reason: Reason) -> Turn {
        let after = self.word();
        Turn {
            from: before.state(),
            to: after.state(),
            mode: after.mode(),
            generation: after.generation(),
            reason,
        }
    }

    /// Swaps the policy. Permits stay good and the window keeps its calls; a half-open round is judged by the
    /// new policy at once, a window at the next outcome.
    pub(super) fn configure(&self, policy: Policy, clock: &Clock) -> (Option<Turn>, u32) {
        let now = clock.now();
        let mut books = self.lock();
        let books = &mut *books;
        let next = self.slide(books, now);
        self.publish(&policy);
        books.policy = policy;
        books.window.become_window(books.policy.window, now, next);
        if books.policy.consecutive_failures.is_none() {
            books.run.clear();
        }
        self.turns_at.store(books.window.turns_at().as_micros(), Release);
        self.watch.store(books.policy.consecutive_failures.is_none(), Release);
        let word = self.word().with_policy(&books.policy);
        self.set_word(word);
        let mut lost = 0;
        match (word.state(), word.mode()) {
            (State::Open, Mode::Automatic | Mode::Observe) => {
                let latest = (now + books.policy.open_max).as_micros();
                self.until.store(self.until.load(Relaxed).min(latest), Release);
            }
            (State::HalfOpen, _) => {
                books.round.shorten(now + books.policy.probe_lease);
                lost = books.round.reclaim(now);
            }
            _ => {}
        }
        let turn = self.decide(books, word, now);
        self.set_room(books, self.word());
        (turn, lost)
    }

    pub(super) fn policy(&self) -> Policy {
        self.lock().policy.clone()
    }

    pub(super) fn standing(&self, clock: &Clock) -> Standing {
        let now = clock.now();
        let mut books = self.lock();
        let next = self.slide(&mut books, now);
        let word = self.word();
        let until = Moment::from_micros(self.until.load(Relaxed));
        let retry_after = match word.state() {
            State::Closed => Duration::ZERO,
            State::Open | State::HalfOpen => wait(word, now, until),
        };
        Standing { state: word.state(), mode: word.mode(), tally: books.window.tally(next), retry_after }
    }
}

/// For one that is forced open `until` is a time, not a moment.
fn wait(word: Word, now: Moment, until: Moment) -> Duration {
    match word.mode() {
        Mode::ForcedOpen => Duration::from_micros(until.as_micros()),
        _ => until.saturating_since(now),
    }
}

fn refuse(word: Word, now: Moment, until: Moment) -> Admission {
    if word.mode() == Mode::Observe {
        let ticket = Ticket { kind: Kind::Shadow, generation: word.generation(), begun: now };
        return Admission { shadow: true, ..Admission::pass(ticket) };
    }
    let retry_after = wait(word, now, until).max(Duration::from_micros(1));
    let refusal = Refusal { state: word.state(), retry_after };
    Admission { ticket: Err(refusal), shadow: false, lost: 0, turn: None }
}
