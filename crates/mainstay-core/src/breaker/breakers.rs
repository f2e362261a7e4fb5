use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Breaker, Policy, PolicyError};
use crate::metrics::Metrics;
use crate::time::Clock;

/// The breakers of an app by name: one for each dependency, and the same one wherever it is asked for.
/// Cheap to clone; clones are the same.
///
/// ```
/// # use mainstay_core::{breaker::{Breakers, Mode, State}, metrics::Metrics, time::Clock};
/// let breakers = Breakers::new(&Metrics::new(), Clock::system());
/// breakers.named("billing").force(Mode::ForcedOpen);
/// assert_eq!(breakers.named("billing").state(), State::Open);
/// assert_eq!(breakers.all().len(), 1);
/// ```
#[derive(Debug, Clone)]
pub struct Breakers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    metrics: Metrics,
    clock: Clock,
    by_name: RwLock<BTreeMap<Arc<str>, Breaker>>,
}

impl Breakers {
    /// None yet.
    #[must_use]
    pub fn new(metrics: &Metrics, clock: Clock) -> Self {
        Self { shared: Arc::new(Shared { metrics: metrics.clone(), clock, by_name: RwLock::default() }) }
    }

    /// The breaker of this name, made by this policy if there is none yet. One that is there keeps its policy.
    ///
    /// Names end up in metrics: they come from the program or its configuration, never from a request.
    ///
    /// # Errors
    /// As [`Breaker::new`].
    pub fn declare(&self, name: &str, policy: Policy) -> Result<Breaker, PolicyError> {
        if let Some(there) = self.get(name) {
            return Ok(there);
        }
        let mut by_name = self.shared.by_name.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = by_name.get(name) {
            return Ok(there.clone());
        }
        let breaker = Breaker::new(name, policy, &self.shared.metrics, self.shared.clock.clone())?;
        by_name.insert(name.into(), breaker.clone());
        Ok(breaker)
    }

    /// The breaker of this name, made by the default policy if there is none yet.
    ///
    /// # Panics
    /// If the name is not 1 to 64 of `[a-z0-9._-]`: it is written in the program.
    #[must_use]
    pub fn named(&self, name: &'static str) -> Breaker {
        self.declare(name, Policy::default()).expect("a breaker's name is 1 to 64 of [a-z0-9._-]")
    }

    /// The breaker of this name, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Breaker> {
        self.shared.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All, sorted by name.
    #[must_use]
    pub fn all(&self) -> Vec<Breaker> {
        self.shared.by_name.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
