//! Who holds what, since when, and who waits: for people to look at.

use std::time::Duration;

use super::store::{Holder, LockState, SHOWN_KEYS};
use super::{Error, Fence, Locks};
use crate::key::Key;

/// A lock that a guard of this process holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldHere {
    /// What is locked.
    pub key: String,
    /// The guard's [`short_id`](super::Token::short_id), as [`Holder::id`] shows it.
    pub id: Box<str>,
    /// The guard's fence.
    pub fence: Fence,
    /// How long it has been held.
    pub since: Duration,
    /// It is lost after this time if it is not renewed.
    pub ends_in: Duration,
}

/// The line of those in this process who wait for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingHere {
    /// What they wait for.
    pub key: String,
    /// How many they are.
    pub waiting: usize,
    /// How long the first of them has waited in line.
    pub since: Duration,
}

impl Locks {
    /// What guards of this process hold, the longest held first: at most 1,000. Looks at every guard; asks nobody.
    #[must_use]
    pub fn holds(&self) -> Vec<HeldHere> {
        let keeper = &self.inner.keeper;
        let now = keeper.clock.now();
        let mut holds = keeper.holds();
        holds.sort_by_key(|hold| hold.since);
        let shown = holds.iter().take(SHOWN_KEYS).map(|hold| HeldHere {
            key: hold.name().to_owned(),
            id: hold.token.short_id(),
            fence: hold.fence,
            since: now.saturating_since(hold.since),
            ends_in: hold.valid_until().saturating_since(now),
        });
        shown.collect()
    }

    /// The lines in this process, those whose first has waited longest first: at most 1,000. Looks at every line; asks
    /// nobody.
    #[must_use]
    pub fn waits(&self) -> Vec<WaitingHere> {
        let now = self.inner.keeper.clock.now();
        let mut lines = self.inner.queues.lengths();
        lines.sort_by_key(|(.., since)| *since);
        let shown = lines.into_iter().take(SHOWN_KEYS).map(|(key, waiting, since)| WaitingHere {
            key: key.as_ref().to_owned(),
            waiting,
            since: now.saturating_since(since),
        });
        shown.collect()
    }

    /// Who holds `key`, in any process, as the store sees it: at most 100, those with the lowest fences first.
    ///
    /// # Errors
    /// [`Error::Key`]; [`Error::Unavailable`] and [`Error::Unknown`]: the store did not say.
    pub async fn holders(&self, key: &str) -> Result<Vec<Holder>, Error> {
        let keeper = &self.inner.keeper;
        Ok(keeper.store.holders(Key::new(key)?).within(keeper.op_timeout).await?)
    }

    /// What is held in any process, as the store sees it: at most `limit` keys (and at most 1,000), each with at most
    /// 100 holders.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::Unknown`]: the store did not say.
    pub async fn list(&self, limit: usize) -> Result<Vec<LockState>, Error> {
        let keeper = &self.inner.keeper;
        Ok(keeper.store.list(limit).within(keeper.op_timeout).await?)
    }
}
