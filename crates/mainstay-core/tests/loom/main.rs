//! The breaker's gate under a model checker: every schedule of three threads, and every value a relaxed load may
//! give. The gate is compiled from its own source, with the checker's types in the place of `breaker/sync.rs`.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[allow(dead_code, reason = "the handle uses more of it")]
#[path = "../../src/breaker/gate/mod.rs"]
mod gate;

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64};
    pub(super) use loom::sync::{Mutex, MutexGuard};

    loom::thread_local! {
        pub(super) static NUMBER: std::cell::Cell<usize> = std::cell::Cell::new(0);
    }

    pub(super) fn this_thread() -> usize {
        NUMBER.with(std::cell::Cell::get)
    }

    pub(super) fn stripes() -> usize {
        2
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use gate::{Gate, Outcome, Ticket, Unsettled};
use mainstay_core::breaker::{Mode, Policy, Reason, State, Window};
use mainstay_core::time::{self, Clock, Moment, Source};

/// A clock that moves only while one thread runs.
#[derive(Debug, Clone)]
struct Hand(Arc<AtomicU64>);

impl Source for Hand {
    fn now(&self) -> Moment {
        Moment::from_micros(self.0.load(SeqCst))
    }

    fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

struct Rig {
    gate: Gate,
    clock: Clock,
    hand: Hand,
    /// Probes under way, as the checker of the test sees them.
    probes: AtomicI64,
}

impl Rig {
    fn new(policy: Policy) -> Arc<Self> {
        policy.check().unwrap();
        let hand = Hand(Arc::new(AtomicU64::new(1_000_000_000)));
        let clock = Clock::of(Arc::new(hand.clone()));
        let gate = Gate::new(policy, clock.now(), || 0.5);
        Arc::new(Self { gate, clock, hand, probes: AtomicI64::new(0) })
    }

    fn advance(&self, time: Duration) {
        self.hand.0.fetch_add(u64::try_from(time.as_micros()).unwrap(), SeqCst);
    }

    fn ticket(&self) -> Option<Ticket> {
        self.gate.pass(&self.clock).or_else(|| self.gate.admit(&self.clock).ticket.ok())
    }

    /// Whether it counted for the state that the gate is in.
    fn end(&self, ticket: &Ticket, outcome: Outcome) -> bool {
        let unsettled = match outcome {
            Outcome::Success => match self.gate.succeed(ticket, &self.clock) {
                Ok(()) => return true,
                Err(unsettled) => unsettled,
            },
            _ => Unsettled::default(),
        };
        !self.gate.record(ticket, outcome, unsettled, &self.clock).late
    }

    fn call(&self, outcome: Outcome) {
        let ticket = self.ticket().unwrap();
        self.end(&ticket, outcome);
    }

    /// Opens it; the next call is a probe.
    fn half_open(&self) {
        self.call(Outcome::FailureFor(Duration::ZERO));
        assert_eq!(self.gate.state(), State::Open);
    }

    /// A probe, if one is let pass, with the promise that there are never more than `most`.
    fn probe(&self, most: i64, outcome: Outcome) {
        let Some(ticket) = self.ticket() else { return };
        if self.gate.state() != State::HalfOpen {
            self.end(&ticket, outcome);
            return;
        }
        assert!(self.probes.fetch_add(1, SeqCst) < most, "more than {most} probes under way");
        loom::thread::yield_now();
        self.probes.fetch_sub(1, SeqCst);
        self.end(&ticket, outcome);
    }

    /// With calls that succeed it closes, whatever came before.
    fn closes(&self) {
        for _ in 0..20 {
            if self.gate.state() == State::Closed {
                return;
            }
            self.advance(self.gate.standing(&self.clock).retry_after);
            if let Some(ticket) = self.ticket() {
                self.end(&ticket, Outcome::Success);
            }
        }
        panic!("stuck in {:?}", self.gate.standing(&self.clock));
    }
}

fn policy(window: Window, min_calls: u32) -> Policy {
    let mut policy = Policy::default();
    policy.window = window;
    policy.min_calls = min_calls;
    policy.probes = 2;
    policy.probes_to_close = 1;
    policy
}

/// Tries every schedule.
fn every(schedule: impl Fn() + Sync + Send + 'static) {
    loom::model::Builder::new().check(schedule);
}

/// Tries every schedule in which threads are interrupted at most twice where they need not be, and every one there
/// is if `MAINSTAY_ROUNDS` is set: that takes minutes.
fn most(schedule: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    if std::env::var_os("MAINSTAY_ROUNDS").is_none() {
        builder.preemption_bound = Some(2);
    }
    builder.check(schedule);
}

/// Runs three threads: two more and this one.
fn three(
    rig: &Arc<Rig>,
    first: impl FnOnce(&Rig) + 'static,
    second: impl FnOnce(&Rig) + 'static,
    third: impl FnOnce(&Rig),
) {
    let spawn = |number: usize, rig: Arc<Rig>, run: Box<dyn FnOnce(&Rig)>| {
        loom::thread::spawn(move || {
            sync::NUMBER.with(|own| own.set(number));
            run(&rig);
        })
    };
    let threads = [spawn(1, rig.clone(), Box::new(first)), spawn(2, rig.clone(), Box::new(second))];
    third(rig);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn no_schedule_lets_more_probes_pass_than_the_policy_has() {
    most(|| {
        let rig = Rig::new(policy(Window::Count(4), 1));
        rig.half_open();
        three(
            &rig,
            |rig| rig.probe(2, Outcome::Cancelled),
            |rig| rig.probe(2, Outcome::Failure),
            |rig| rig.probe(2, Outcome::Ignored),
        );
        rig.closes();
    });
}

#[test]
fn no_schedule_loses_the_outcome_that_reaches_the_threshold() {
    every(|| {
        let rig = Rig::new(policy(Window::Count(4), 3));
        three(
            &rig,
            |rig| rig.call(Outcome::Failure),
            |rig| rig.call(Outcome::Success),
            |rig| rig.call(Outcome::Failure),
        );
        assert_eq!(rig.gate.state(), State::Open, "two of three calls failed");
    });
}

#[test]
fn no_schedule_loses_the_success_that_shows_what_left_a_window_of_time() {
    most(|| {
        let rig = Rig::new(policy(Window::Time(Duration::from_secs(10)), 4));
        (0..4).for_each(|_| rig.call(Outcome::Success));
        rig.advance(Duration::from_secs(5));
        (0..2).for_each(|_| rig.call(Outcome::Failure));
        assert_eq!(rig.gate.state(), State::Closed, "two of six calls failed");
        rig.advance(Duration::from_secs(5));
        three(
            &rig,
            |rig| rig.call(Outcome::Success),
            |rig| rig.call(Outcome::Success),
            |rig| assert!(rig.gate.standing(&rig.clock).tally.failures == 2),
        );
        assert_eq!(rig.gate.state(), State::Open, "two of four calls failed");
    });
}

#[test]
fn no_schedule_lets_an_outcome_of_before_into_the_window_of_after() {
    most(|| {
        let rig = Rig::new(policy(Window::Count(8), 1));
        let (late, last) = (rig.ticket().unwrap(), rig.ticket().unwrap());
        let counted = Arc::new(AtomicU64::new(0));
        let third = counted.clone();
        three(
            &rig,
            move |rig| {
                rig.end(&late, Outcome::Success);
            },
            move |rig| {
                let Some(ticket) = rig.ticket() else { return };
                if rig.end(&ticket, Outcome::Success) {
                    third.fetch_add(1, SeqCst);
                }
            },
            |rig| {
                rig.end(&last, Outcome::FailureFor(Duration::ZERO));
                rig.closes();
                rig.call(Outcome::Success);
            },
        );
        let tally = rig.gate.standing(&rig.clock).tally;
        assert_eq!(tally.failures, 0);
        assert!(tally.calls <= 1 + counted.load(SeqCst), "{tally:?}: the late one is among them");
    });
}

#[test]
fn no_schedule_lets_an_outcome_of_before_take_one_from_the_window_of_after() {
    every(|| {
        let rig = Rig::new(policy(Window::Count(8), 1));
        let late = rig.ticket().unwrap();
        three(
            &rig,
            move |rig| {
                rig.end(&late, Outcome::Success);
            },
            |_| {},
            |rig| {
                rig.gate.reset(&rig.clock);
                rig.call(Outcome::Success);
            },
        );
        assert_eq!(rig.gate.standing(&rig.clock).tally.calls, 1, "the one of after");
    });
}

#[test]
fn no_schedule_of_a_new_policy_leaves_it_stuck_or_lets_too_many_pass() {
    most(|| {
        let rig = Rig::new(policy(Window::Count(4), 1));
        rig.half_open();
        three(
            &rig,
            |rig| rig.probe(2, Outcome::Success),
            |rig| {
                let mut fewer = policy(Window::Time(Duration::from_secs(10)), 1);
                fewer.probes = 1;
                rig.gate.configure(fewer, &rig.clock);
            },
            |rig| rig.probe(2, Outcome::Failure),
        );
        rig.closes();
        assert!(rig.gate.mode() == Mode::Automatic);
    });
}

#[test]
fn no_schedule_gives_a_probe_up_and_takes_its_outcome_too() {
    every(|| {
        let mut lease = policy(Window::Count(4), 1);
        lease.probes_to_close = 2;
        let rig = Rig::new(lease);
        rig.half_open();
        let probe = rig.ticket().unwrap();
        rig.advance(Duration::from_secs(60));
        three(
            &rig,
            move |rig| assert!(!rig.end(&probe, Outcome::Success), "its lease is over"),
            |rig| rig.probe(2, Outcome::Success),
            |rig| rig.probe(2, Outcome::Cancelled),
        );
        rig.closes();
    });
}

#[test]
fn no_schedule_of_modes_leaves_it_stuck() {
    most(|| {
        let rig = Rig::new(policy(Window::Count(4), 1));
        three(
            &rig,
            |rig| {
                rig.gate.force(Mode::ForcedOpen, &rig.clock);
                rig.gate.force(Mode::Automatic, &rig.clock);
            },
            |rig| rig.probe(2, Outcome::FailureFor(Duration::ZERO)),
            |rig| rig.probe(2, Outcome::Success),
        );
        rig.closes();
    });
}

#[test]
fn no_schedule_of_three_that_ask_gives_the_only_probe_twice() {
    every(|| {
        let mut only = policy(Window::Count(4), 1);
        only.probes = 1;
        let rig = Rig::new(only);
        rig.half_open();
        let asks = |rig: &Rig| {
            // Not `Rig::ticket`: one load less is a tenth of the schedules.
            if rig.gate.admit(&rig.clock).ticket.is_ok() {
                assert_eq!(rig.probes.fetch_add(1, SeqCst), 0, "two probes");
            }
        };
        three(&rig, asks, asks, asks);
        assert_eq!(rig.probes.load(SeqCst), 1, "nobody got it");
        rig.advance(Duration::from_secs(60));
        rig.closes();
    });
}
