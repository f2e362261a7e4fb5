use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rand::RngExt;

use super::error::Open;
use super::gate::{Gate, Outcome, Refusal, Ticket, Turn, Unsettled};
use super::instruments::Instruments;
use super::permit::{Held, Permit};
use super::policy::Policy;
use super::snapshot::Snapshot;
use super::{Change, Mode, State};
use crate::metrics::Metrics;
use crate::policy::{PolicyError, check_name};
use crate::time::Clock;

/// Stands between callers and one dependency. Cheap to clone; clones are the same breaker.
///
/// One per instance and dependency (or shard of one): sharing a breaker's state between processes would let one
/// of them that is cut off cut off all.
#[derive(Debug, Clone)]
pub struct Breaker {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    name: Arc<str>,
    gate: Gate,
    clock: Clock,
    instruments: Instruments,
    told: Mutex<Told>,
}

/// What the changes so far left behind.
#[derive(Default)]
struct Told {
    listeners: Vec<Listener>,
    last_opening: Option<(Timestamp, String)>,
}

type Listener = Arc<dyn Fn(&Change) + Send + Sync>;

impl Breaker {
    /// A closed breaker.
    ///
    /// # Errors
    /// If `name` is not 1 to 64 of `[a-z0-9._-]`, or [`Policy::check`] finds fault.
    pub fn new(name: &str, policy: Policy, metrics: &Metrics, clock: Clock) -> Result<Self, PolicyError> {
        policy.check()?;
        check_name("breaker", name)?;
        let jitter = || rand::rng().random_range(0.0..=1.0);
        let shared = Shared {
            name: name.into(),
            gate: Gate::new(policy, clock.now(), jitter),
            clock,
            instruments: Instruments::new(name, metrics),
            told: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    #[inline]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Asks to make a call now. Never waits; takes no lock while closed, nor to refuse.
    ///
    /// # Errors
    /// [`Open`], with the time after which it is worth asking again.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, Open> {
        let ticket = self.shared.admit()?;
        Ok(Permit::new(Held::Borrowed(&self.shared), ticket))
    }

    /// As [`Breaker::try_acquire`], for a permit that outlives this handle. Costs two updates of a shared counter
    /// more.
    ///
    /// # Errors
    /// As [`Breaker::try_acquire`].
    pub fn try_acquire_owned(&self) -> Result<Permit<'static>, Open> {
        let ticket = self.shared.admit()?;
        Ok(Permit::new(Held::Owned(self.shared.clone()), ticket))
    }

    /// What it does with calls. Takes no lock.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.gate.state()
    }

    /// Who decides. Takes no lock.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.shared.gate.mode()
    }

    /// Chooses who decides. From [`Mode::ForcedOpen`] or [`Mode::Disabled`] back to the others it begins closed,
    /// with an empty window; between [`Mode::Automatic`] and [`Mode::Observe`] nothing is lost.
    pub fn force(&self, mode: Mode) {
        let turn = self.shared.gate.force(mode, &self.shared.clock);
        self.shared.tell(turn);
    }

    /// Closes it, with an empty window. Does nothing while it is forced open or disabled.
    pub fn reset(&self) {
        let turn = self.shared.gate.reset(&self.shared.clock);
        self.shared.tell(turn);
    }

    /// The policy it works by.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.shared.gate.policy()
    }

    /// Goes on by another policy. Permits stay good, and the window keeps its calls as far as the new one holds
    /// them (a window that becomes one of time takes them for calls of now). The window is judged by the new policy
    /// with the next outcome.
    ///
    /// # Errors
    /// [`Policy::check`] finds fault; then nothing changes.
    pub fn configure(&self, policy: Policy) -> Result<(), PolicyError> {
        policy.check()?;
        let (turn, lost) = self.shared.gate.configure(policy, &self.shared.clock);
        self.shared.tell_lost(lost);
        self.shared.tell(turn);
        Ok(())
    }

    /// How it stands.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let standing = self.shared.gate.standing(&self.shared.clock);
        let last_opening = self.shared.told().last_opening.clone();
        let (opened_at, last_opening) = last_opening.unzip();
        Snapshot {
            name: self.shared.name.clone(),
            state: standing.state,
            mode: standing.mode,
            calls: standing.tally.calls,
            failures: standing.tally.failures,
            slow: standing.tally.slow,
            failure_rate: standing.tally.failure_rate(),
            slow_rate: standing.tally.slow_rate(),
            not_permitted: self.shared.instruments.not_permitted.get(),
            opened_at,
            last_opening,
            retry_after: standing.retry_after,
        }
    }

    /// Calls `listener` after each change of state or mode, on the thread that caused it: it must not block. It
    /// may use the breaker. A panic in it is logged.
    pub fn on_change(&self, listener: impl Fn(&Change) + Send + Sync + 'static) {
        self.shared.told().listeners.push(Arc::new(listener));
    }
}

impl Shared {
    #[inline]
    fn admit(&self) -> Result<Ticket, Open> {
        match self.pass() {
            Some(ticket) => Ok(ticket),
            None => self.admit_open(),
        }
    }

    /// The way of nearly all calls.
    #[inline]
    pub(super) fn pass(&self) -> Option<Ticket> {
        self.gate.pass(&self.clock)
    }

    #[cold]
    pub(super) fn admit_open(&self) -> Result<Ticket, Open> {
        let admission = self.gate.admit(&self.clock);
        if admission.shadow || admission.ticket.is_err() {
            self.instruments.not_permitted.increment(1);
        }
        self.tell_lost(admission.lost);
        self.tell(admission.turn);
        admission.ticket.map_err(|Refusal { state, retry_after }| Open {
            name: self.name.clone(),
            state,
            retry_after,
        })
    }

    #[inline]
    pub(super) fn succeed(&self, ticket: &Ticket) {
        match self.gate.succeed(ticket, &self.clock) {
            Ok(()) => self.instruments.success.increment(1),
            Err(unsettled) => self.settle(ticket, Outcome::Success, unsettled),
        }
    }

    pub(super) fn end(&self, ticket: &Ticket, outcome: Outcome) {
        self.settle(ticket, outcome, Unsettled::default());
    }

    #[cold]
    fn settle(&self, ticket: &Ticket, outcome: Outcome, unsettled: Unsettled) {
        let record = self.gate.record(ticket, outcome, unsettled, &self.clock);
        if ticket.is_tracked() {
            self.instruments.ended(outcome, &record);
        }
        self.tell_lost(record.lost);
        self.tell(record.turn);
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_lost(&self, probes: u32) {
        if probes > 0 {
            self.instruments.lost(&self.name, probes);
        }
    }

    /// Not under the gate's lock: a listener may use the breaker.
    #[cold]
    fn tell(&self, turn: Option<Turn>) {
        let Some(Turn { from, to, mode, generation, reason }) = turn else { return };
        let at = self.clock.wall();
        let change = Change { name: self.name.clone(), from, to, mode, generation, reason, at };
        let listeners = {
            let mut told = self.told();
            if to == State::Open && from != to {
                told.last_opening = Some((at, reason.to_string()));
            }
            // Whoever is last shows what is last.
            self.instruments.show(self.gate.state());
            told.listeners.clone()
        };
        self.instruments.changed(&change);
        for listener in listeners {
            if catch_unwind(AssertUnwindSafe(|| listener(&change))).is_err() {
                tracing::error!(breaker = &*self.name, "a listener of changes panicked");
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", &self.name)
            .field("state", &self.gate.state())
            .field("mode", &self.gate.mode())
            .finish_non_exhaustive()
    }
}
