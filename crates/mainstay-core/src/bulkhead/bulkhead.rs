//! The handle.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::error::{Full, Refusal};
use super::instruments::{IN_FLIGHT, Instruments, WAITING};
use super::policy::Policy;
use crate::deadline::{Elapsed, timeout};
use crate::metrics::Metrics;
use crate::policy::{PolicyError, check_name};
use crate::time::Clock;

/// Bounds the calls to one dependency. Clones share it.
#[derive(Clone)]
pub struct Bulkhead(Arc<Core>);

struct Core {
    name: Arc<str>,
    policy: ArcSwap<Policy>,
    clock: Clock,
    instruments: Instruments,
    /// Slots that are free, and the line.
    slots: Semaphore,
    waiting: AtomicUsize,
    /// Slots to take in when they come back, as there are more than the policy has now.
    surplus: AtomicUsize,
    configuring: Mutex<()>,
}

/// The right to make one call, until it is dropped.
#[must_use = "the call is made while the slot is held"]
pub struct Slot(Arc<Core>);

/// A place in the line.
struct Place<'a>(&'a Core);

impl Bulkhead {
    /// As `policy` says; `name` is the label of its metrics.
    ///
    /// # Errors
    /// Names the field that cannot be, or `name`.
    pub fn new(name: &str, policy: Policy, metrics: &Metrics, clock: Clock) -> Result<Self, PolicyError> {
        check_name("bulkhead", name)?;
        policy.check()?;
        let core = Arc::new(Core {
            name: name.into(),
            clock,
            instruments: Instruments::new(name, metrics),
            slots: Semaphore::new(policy.max_concurrent as usize),
            policy: ArcSwap::from_pointee(policy),
            waiting: AtomicUsize::new(0),
            surplus: AtomicUsize::new(0),
            configuring: Mutex::new(()),
        });
        let weak = Arc::downgrade(&core);
        metrics.collect(move |sink| {
            if let Some(core) = weak.upgrade() {
                let labels = [("name", &*core.name)];
                sink.gauge(IN_FLIGHT, &labels, core.in_flight() as f64);
                sink.gauge(WAITING, &labels, core.waiting.load(SeqCst) as f64);
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

    /// Slots that are out, those among them that a waiter was given and has not yet noticed.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    /// Callers that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(SeqCst)
    }

    /// A slot, if one is free and nobody waits for it.
    ///
    /// # Errors
    /// [`Full`], with [`Refusal::Queue`].
    #[inline]
    pub fn try_acquire(&self) -> Result<Slot, Full> {
        self.take().ok_or_else(|| self.0.full(Refusal::Queue))
    }

    /// A slot, after waiting in line if need be. Dropping the future leaves the line.
    ///
    /// # Errors
    /// [`Full`]: the call must not be made.
    pub async fn acquire(&self) -> Result<Slot, Full> {
        if let Some(slot) = self.take() {
            return Ok(slot);
        }
        let core = &*self.0;
        let max_wait = core.policy.load().max_wait;
        let _place = core.enter()?;
        let begun = core.clock.now();
        match timeout(max_wait, core.slots.acquire()).await {
            Ok(permit) => {
                permit.expect("the semaphore is never closed").forget();
                let slot = Slot(Arc::clone(&self.0));
                let waited = core.clock.now().saturating_since(begun);
                core.instruments.waited.record_duration(waited);
                Ok(slot)
            }
            Err(Elapsed::Timeout { .. }) => Err(core.full(Refusal::Wait)),
            Err(Elapsed::Deadline) => Err(core.full(Refusal::Deadline)),
        }
    }

    /// Goes on by another policy.
    ///
    /// # Errors
    /// As [`Policy::check`]; nothing has changed then.
    pub fn configure(&self, policy: Policy) -> Result<(), PolicyError> {
        policy.check()?;
        let core = &*self.0;
        let _one_at_a_time = core.configuring.lock().unwrap_or_else(PoisonError::into_inner);
        let new = policy.max_concurrent as usize;
        let old = core.policy.swap(Arc::new(policy)).max_concurrent as usize;
        core.surplus.fetch_add(old.saturating_sub(new), SeqCst);
        core.give_back(new.saturating_sub(old));
        Ok(())
    }

    /// A slot that is free. To find none is no refusal.
    #[inline]
    pub(crate) fn take(&self) -> Option<Slot> {
        let permit = self.0.slots.try_acquire().ok()?;
        permit.forget();
        Some(Slot(Arc::clone(&self.0)))
    }
}

impl Core {
    fn in_flight(&self) -> usize {
        let slots = self.policy.load().max_concurrent as usize + self.surplus.load(SeqCst);
        slots.saturating_sub(self.slots.available_permits())
    }

    fn enter(&self) -> Result<Place<'_>, Full> {
        let most = self.policy.load().max_waiting as usize;
        match self.waiting.fetch_update(SeqCst, SeqCst, |waiting| (waiting < most).then_some(waiting + 1)) {
            Ok(_) => Ok(Place(self)),
            Err(_) => Err(self.full(Refusal::Queue)),
        }
    }

    fn full(&self, reason: Refusal) -> Full {
        self.instruments.refused(reason);
        Full { name: Arc::clone(&self.name), reason }
    }

    /// To the next in line, as far as there are not too many slots.
    #[inline]
    fn give_back(&self, slots: usize) {
        self.slots.add_permits(slots - self.pay_surplus(slots));
        self.settle();
    }

    /// Takes in surplus slots that are free. To be asked whenever one may have become free past
    /// `pay_surplus`.
    #[inline]
    fn settle(&self) {
        while self.surplus.load(SeqCst) > 0 && self.slots.forget_permits(1) == 1 {
            self.slots.add_permits(1 - self.pay_surplus(1));
        }
    }

    /// How many of so many slots that have come back were too many.
    #[inline]
    fn pay_surplus(&self, slots: usize) -> usize {
        if self.surplus.load(SeqCst) == 0 {
            return 0;
        }
        let less = |surplus: usize| Some(surplus.saturating_sub(slots));
        let surplus = self.surplus.fetch_update(SeqCst, SeqCst, less).unwrap_or_else(|surplus| surplus);
        surplus.min(slots)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.give_back(1);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
        // A waiter that is dropped as it gets its slot hands it back past `give_back`.
        self.0.settle();
    }
}

impl fmt::Debug for Bulkhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulkhead")
            .field("name", &self.0.name)
            .field("in_flight", &self.in_flight())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.0.name).finish()
    }
}
