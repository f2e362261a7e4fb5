//! The handle.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::control::{Control, Sample};
use super::instruments::{IN_FLIGHT, Instruments, LIMIT};
use super::policy::Policy;
use crate::metrics::Metrics;
use crate::policy::{PolicyError, check_name};
use crate::time::{Clock, Moment};

/// Bounds the calls to one dependency by what it can take. Clones share it.
#[derive(Clone)]
pub struct Adaptive(Arc<Core>);

struct Core {
    name: Arc<str>,
    policy: ArcSwap<Policy>,
    clock: Clock,
    instruments: Instruments,
    in_flight: AtomicU32,
    /// What `control` says, to be read without its lock.
    limit: AtomicU32,
    control: Mutex<Control>,
}

/// As many calls are out as the dependency can take: this one was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("adaptive limit {name} of {limit} is reached")]
#[non_exhaustive]
pub struct Full {
    /// The limit's name.
    pub name: Arc<str>,
    /// What it is now.
    pub limit: u32,
}

/// The right to make one call. To drop it says nothing about the dependency.
#[must_use = "the call is made while the slot is held, and then says how it went"]
pub struct Slot {
    core: Arc<Core>,
    begun: Moment,
    at_start: u32,
}

impl Adaptive {
    /// Follows `policy`; `name` is the label of its metrics.
    ///
    /// # Errors
    /// Names the field that cannot be, or `name`.
    pub fn new(name: &str, policy: Policy, metrics: &Metrics, clock: Clock) -> Result<Self, PolicyError> {
        check_name("adaptive", name)?;
        policy.check()?;
        let core = Arc::new(Core {
            name: name.into(),
            control: Mutex::new(Control::new(&policy, clock.now())),
            clock,
            instruments: Instruments::new(name, metrics),
            in_flight: AtomicU32::new(0),
            limit: AtomicU32::new(policy.initial),
            policy: ArcSwap::from_pointee(policy),
        });
        let weak = Arc::downgrade(&core);
        metrics.collect(move |sink| {
            if let Some(core) = weak.upgrade() {
                let labels = [("name", &*core.name)];
                sink.gauge(LIMIT, &labels, f64::from(core.limit.load(SeqCst)));
                sink.gauge(IN_FLIGHT, &labels, f64::from(core.in_flight.load(SeqCst)));
            }
        });
        Ok(Self(core))
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The policy it follows.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.0.policy.load_full()
    }

    /// Follows another policy. The limit stays as far as its new bounds allow, and no slot is taken away.
    ///
    /// # Errors
    /// As [`Policy::check`]; nothing has changed then.
    pub fn configure(&self, policy: Policy) -> Result<(), PolicyError> {
        policy.check()?;
        let policy = Arc::new(policy);
        self.0.policy.store(Arc::clone(&policy));
        self.0.control(|control, policy| control.configure(policy));
        Ok(())
    }

    /// Calls that may be out at once, now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.0.limit.load(SeqCst)
    }

    /// Calls that are out.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.0.in_flight.load(SeqCst)
    }

    /// A slot, if the limit leaves one. Takes no lock and allocates nothing.
    ///
    /// # Errors
    /// [`Full`]: the call must not be made.
    pub fn try_acquire(&self) -> Result<Slot, Full> {
        let core = &self.0;
        let limit = core.limit.load(SeqCst);
        let more = |out: u32| (out < limit).then_some(out + 1);
        match core.in_flight.fetch_update(SeqCst, SeqCst, more) {
            Ok(before) => Ok(Slot { core: Arc::clone(core), begun: core.clock.now(), at_start: before + 1 }),
            Err(_) => {
                core.instruments.refused.increment(1);
                Err(Full { name: Arc::clone(&core.name), limit })
            }
        }
    }
}

impl Core {
    fn control(&self, change: impl FnOnce(&mut Control, &Policy)) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that the bounds of an older policy never come last.
        let policy = self.policy.load();
        change(&mut control, &policy);
        self.limit.store(control.limit(&policy), SeqCst);
    }
}

impl Slot {
    /// The call was answered, well or with an error that says nothing about load: its latency counts.
    pub fn success(self) {
        let core = &*self.core;
        let sample = Sample {
            begun: self.begun,
            ended: core.clock.now(),
            at_start: self.at_start,
            at_end: core.in_flight.load(SeqCst).saturating_sub(1),
        };
        core.control(|control, policy| control.success(policy, sample));
    }

    /// The call timed out, or was refused for want of capacity.
    pub fn overloaded(self) {
        let (core, now) = (&*self.core, self.core.clock.now());
        core.instruments.overloaded.increment(1);
        core.control(|control, policy| control.overloaded(policy, self.begun, now));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.core.in_flight.fetch_sub(1, SeqCst);
    }
}

impl fmt::Debug for Adaptive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adaptive")
            .field("name", &self.0.name)
            .field("limit", &self.limit())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.core.name).finish()
    }
}
