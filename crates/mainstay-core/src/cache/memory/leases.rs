//! Who may fill which key.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::cache::{Tag, Token};
use crate::key::Key;
use crate::time::Moment;

/// Below this many leases nobody looks for abandoned ones.
const SWEEP_FROM: usize = 64;

/// The leases of one store: one for each key that is being loaded. Leases that ran out without being settled
/// are swept when the table has doubled, so it holds at most twice as many as are in use, and 64.
#[derive(Debug)]
pub(super) struct Leases {
    by_key: HashMap<Box<str>, Lease, foldhash::fast::RandomState>,
    sweep_at: usize,
}

#[derive(Debug)]
pub(super) struct Lease {
    pub(super) until: Moment,
    /// `None` if it is kept from everybody.
    pub(super) holder: Option<Token>,
    /// Broken once one of them is invalidated.
    pub(super) tags: Vec<Tag>,
    wake: Arc<Notify>,
}

impl Default for Leases {
    fn default() -> Self {
        Self { by_key: HashMap::default(), sweep_at: SWEEP_FROM }
    }
}

/// Wakes those who wait for a key, once its state is unlocked.
#[must_use]
pub(super) struct Wake(Option<Arc<Notify>>);

impl Wake {
    pub(super) fn all(self) {
        if let Some(notify) = self.0 {
            notify.notify_waiters();
        }
    }
}

impl Leases {
    /// How many are held.
    pub(super) fn held(&self, now: Moment) -> usize {
        self.by_key.values().filter(|lease| lease.until > now).count()
    }

    pub(super) fn get(&self, key: Key<'_>) -> Option<&Lease> {
        self.by_key.get(key.name())
    }

    /// Gives the lease to `holder`, whoever had it. Those who wait go on waiting.
    pub(super) fn give(&mut self, key: Key<'_>, holder: Token, until: Moment, tags: Vec<Tag>, now: Moment) {
        if let Some(lease) = self.by_key.get_mut(key.name()) {
            (lease.until, lease.holder, lease.tags) = (until, Some(holder), tags);
            return;
        }
        self.sweep(now);
        let lease = Lease { until, holder: Some(holder), tags, wake: Arc::new(Notify::new()) };
        self.by_key.insert(key.name().into(), lease);
    }

    /// Takes the lease from its holder and gives it to nobody.
    pub(super) fn keep(&mut self, key: Key<'_>, until: Moment) -> Wake {
        Wake(self.by_key.get_mut(key.name()).map(|lease| {
            (lease.until, lease.holder) = (until, None);
            Arc::clone(&lease.wake)
        }))
    }

    /// Ends whatever lease there is.
    pub(super) fn end(&mut self, key: Key<'_>) -> Wake {
        Wake(self.by_key.remove(key.name()).map(|lease| lease.wake))
    }

    pub(super) fn waiters(&self, key: Key<'_>) -> Option<Arc<Notify>> {
        self.get(key).map(|lease| Arc::clone(&lease.wake))
    }

    fn sweep(&mut self, now: Moment) {
        if self.by_key.len() >= self.sweep_at {
            self.by_key.retain(|_, lease| lease.until > now);
            self.sweep_at = (2 * self.by_key.len()).max(SWEEP_FROM);
        }
    }
}
