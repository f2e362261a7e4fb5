//! The handle.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::codel::Codel;
use super::instruments::{Instruments, OVERLOADED};
use super::policy::{Policy, Priority};
use crate::metrics::Metrics;
use crate::policy::{PolicyError, check_name};
use crate::time::Clock;

/// Decides which requests a server refuses. Clones share it.
#[derive(Clone)]
pub struct Shedder(Arc<Core>);

struct Core {
    name: Box<str>,
    policy: ArcSwap<Policy>,
    clock: Clock,
    instruments: Instruments,
    codel: Codel,
}

/// The server is overloaded and does not serve this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("overloaded, retry after {retry_after:?}")]
#[non_exhaustive]
pub struct Shed {
    /// When to try again.
    pub retry_after: Duration,
}

impl Shedder {
    /// Follows `policy`; `name` is the label of its metrics.
    ///
    /// # Errors
    /// Names the field that cannot be, or `name`.
    pub fn new(name: &str, policy: Policy, metrics: &Metrics, clock: Clock) -> Result<Self, PolicyError> {
        check_name("shed", name)?;
        policy.check()?;
        let core = Arc::new(Core {
            name: name.into(),
            policy: ArcSwap::from_pointee(policy),
            clock,
            instruments: Instruments::new(name, metrics),
            codel: Codel::new(),
        });
        let weak = Arc::downgrade(&core);
        metrics.collect(move |sink| {
            if let Some(core) = weak.upgrade() {
                sink.gauge(OVERLOADED, &[("name", &core.name)], f64::from(u8::from(core.is_overloaded())));
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

    /// Follows another policy from the next request on. What it knows of the queue stays.
    ///
    /// # Errors
    /// As [`Policy::check`]; nothing has changed then.
    pub fn configure(&self, policy: Policy) -> Result<(), PolicyError> {
        policy.check()?;
        self.0.policy.store(Arc::new(policy));
        Ok(())
    }

    /// Whether a request that spent `queue_delay` in the queue, until now, is served.
    ///
    /// # Errors
    /// [`Shed`]: refuse it at once.
    pub fn admit(&self, priority: Priority, queue_delay: Duration) -> Result<(), Shed> {
        let core = &*self.0;
        if priority == Priority::Critical {
            return Ok(());
        }
        let policy = core.policy.load();
        let overloaded = core.codel.observe(core.clock.now(), queue_delay, policy.target, policy.interval);
        let tolerated = match priority {
            Priority::Low => policy.target,
            Priority::Normal | Priority::Critical => policy.target.saturating_mul(2),
        };
        if !overloaded || queue_delay <= tolerated {
            return Ok(());
        }
        core.instruments.shed(priority);
        Err(Shed { retry_after: policy.retry_after })
    }

    /// Whether requests are being shed.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.0.is_overloaded()
    }
}

impl Core {
    fn is_overloaded(&self) -> bool {
        self.codel.is_overloaded(self.clock.now(), self.policy.load().interval)
    }
}

impl fmt::Debug for Shedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shedder")
            .field("name", &self.0.name)
            .field("overloaded", &self.is_overloaded())
            .finish_non_exhaustive()
    }
}
