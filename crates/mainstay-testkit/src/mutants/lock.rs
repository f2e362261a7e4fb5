//! Stores of `mainstay_core::lock` with one bug each.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::key::Key;
use mainstay_core::lock::{
    Acquired, Changed, Claim, Fence, Holder, LockState, Release, Renewed, SHOWN_KEYS, Store, Token,
};
use mainstay_core::store::{Reply, StoreError};

/// What is wrong with a [`Mutant`]. Most of these are bugs that lock libraries had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Whoever asks for a release gets one.
    AnyoneReleases,
    /// A renewal that comes too late makes a holder.
    RenewalRecreates,
    /// A renewal is not asked for its fence.
    RenewalIgnoresFence,
    /// The counter of fences is lost with the holder.
    FenceStartsAnew,
    /// Asking again is a new grant.
    RepeatGetsNewFence,
    /// Asking again is answered from memory.
    RepeatKeepsOldTtl,
    /// The floor is not read.
    FloorIgnored,
    /// The floor is believed, whatever it is.
    FloorUnbounded,
    /// What was cancelled is forgotten.
    NoTombstone,
    /// What was cancelled is never forgotten.
    EternalTombstone,
    /// One more than the permits.
    OneTooMany,
    /// The permits of whoever came first stand for ever.
    FirstPermitsStand,
    /// Nobody hears of a release.
    Deaf,
    /// Listens when first polled, not when asked to.
    SubscribesLate,
    /// A renewal is shown as a new holder.
    RenewalLooksNew,
    /// What is shown of the attempt releases it.
    ShowsTokens,
    /// More is listed than was asked for.
    ListsMore,
    /// Those who wait are not counted.
    WaitersUncounted,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::AnyoneReleases,
        Self::RenewalRecreates,
        Self::RenewalIgnoresFence,
        Self::FenceStartsAnew,
        Self::RepeatGetsNewFence,
        Self::RepeatKeepsOldTtl,
        Self::FloorIgnored,
        Self::FloorUnbounded,
        Self::NoTombstone,
        Self::EternalTombstone,
        Self::OneTooMany,
        Self::FirstPermitsStand,
        Self::Deaf,
        Self::SubscribesLate,
        Self::RenewalLooksNew,
        Self::ShowsTokens,
        Self::ListsMore,
        Self::WaitersUncounted,
    ];
}

/// A lock store with one [`Bug`], around a sound one.
pub struct Mutant {
    store: Arc<dyn Store>,
    bug: Bug,
    grants: Mutex<HashMap<String, Grant>>,
}

/// The latest grant of a key, and what was first.
#[derive(Clone, Copy)]
struct Grant {
    attempt: Token,
    fence: Fence,
    first_fence: Fence,
    first_permits: u32,
}

impl fmt::Debug for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mutant").field(&self.bug).finish()
    }
}

impl Mutant {
    /// Breaks `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, bug: Bug) -> Self {
        Self { store, bug, grants: Mutex::default() }
    }

    fn grant(&self, key: Key<'_>) -> Option<Grant> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner).get(key.name()).copied()
    }

    fn remember(&self, key: Key<'_>, claim: &Claim, fence: Fence) -> Grant {
        let attempt = claim.attempt;
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let first = Grant { attempt, fence, first_fence: fence, first_permits: claim.permits };
        let grant = grants.entry(key.name().to_owned()).or_insert(first);
        *grant = Grant { attempt, fence, ..*grant };
        *grant
    }

    async fn acquire_badly(&self, key: Key<'_>, mut claim: Claim) -> Result<Acquired, StoreError> {
        let known = self.grant(key);
        let before = known.filter(|grant| grant.attempt == claim.attempt);
        let floor = claim.floor;
        match (self.bug, known, before) {
            (Bug::RepeatKeepsOldTtl, _, Some(grant)) => return Ok(Acquired::Granted { fence: grant.fence }),
            (Bug::FloorIgnored, ..) => claim.floor = Fence::default(),
            (Bug::OneTooMany, ..) => claim.permits += u32::from(claim.permits > 1),
            (Bug::FirstPermitsStand, Some(grant), _) => claim.permits = grant.first_permits,
            _ => {}
        }
        let answer = self.store.acquire(key, claim).await?;
        let Acquired::Granted { fence } = answer else { return Ok(answer) };
        let grant = self.remember(key, &claim, fence);
        Ok(Acquired::Granted {
            fence: match self.bug {
                Bug::FenceStartsAnew => grant.first_fence,
                Bug::RepeatGetsNewFence if before.is_some() => Fence::from(fence.get() + 1),
                Bug::FloorUnbounded => fence.max(Fence::from(floor.get().saturating_add(1))),
                _ => fence,
            },
        })
    }

    async fn renew_badly(
        &self,
        key: Key<'_>,
        attempt: Token,
        mut fence: Fence,
        ttl: Duration,
    ) -> Result<Renewed, StoreError> {
        let own = self.grant(key).filter(|grant| grant.attempt == attempt);
        if let (Bug::RenewalIgnoresFence, Some(grant)) = (self.bug, own) {
            fence = grant.fence;
        }
        let answer = self.store.renew(key, attempt, fence, ttl).await?;
        if self.bug == Bug::RenewalRecreates && answer == Renewed::Lost {
            self.store.acquire(key, Claim { attempt, permits: 1, ttl, floor: Fence::default() }).await?;
        }
        Ok(answer)
    }

    async fn release_badly(
        &self,
        key: Key<'_>,
        mut attempt: Token,
        mut tombstone: Duration,
    ) -> Result<Release, StoreError> {
        match self.bug {
            Bug::AnyoneReleases => attempt = self.grant(key).map_or(attempt, |grant| grant.attempt),
            Bug::NoTombstone => tombstone = Duration::ZERO,
            Bug::EternalTombstone => tombstone *= 1_000,
            _ => {}
        }
        self.store.release(key, attempt, tombstone).await
    }

    async fn changed_badly(&self, key: Key<'_>) -> Result<Changed, StoreError> {
        match self.bug {
            Bug::Deaf => Ok(Box::pin(std::future::pending())),
            Bug::SubscribesLate => {
                let (store, key) = (Arc::clone(&self.store), key.name().to_owned());
                Ok(Box::pin(async move {
                    if let Some(changed) = async { store.changed(Key::new(&key).ok()?).await.ok() }.await {
                        changed.await;
                    }
                }))
            }
            _ => self.store.changed(key).await,
        }
    }

    async fn holders_badly(&self, key: Key<'_>) -> Result<Vec<Holder>, StoreError> {
        let mut holders = self.store.holders(key).await?;
        for holder in &mut holders {
            match (self.bug, self.grant(key)) {
                (Bug::RenewalLooksNew, _) => holder.since = Duration::ZERO,
                (Bug::ShowsTokens, Some(grant)) => holder.id = grant.attempt.to_string().into(),
                _ => {}
            }
        }
        Ok(holders)
    }

    async fn list_badly(&self, limit: usize) -> Result<Vec<LockState>, StoreError> {
        let limit = if self.bug == Bug::ListsMore { SHOWN_KEYS } else { limit };
        let mut locks = self.store.list(limit).await?;
        if self.bug == Bug::WaitersUncounted {
            locks.iter_mut().for_each(|lock| lock.waiting = 0);
        }
        Ok(locks)
    }
}

impl Store for Mutant {
    fn acquire<'a>(&'a self, key: Key<'a>, claim: Claim) -> Reply<'a, Result<Acquired, StoreError>> {
        Reply::pending(self.acquire_badly(key, claim))
    }

    fn renew<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        fence: Fence,
        ttl: Duration,
    ) -> Reply<'a, Result<Renewed, StoreError>> {
        Reply::pending(self.renew_badly(key, attempt, fence, ttl))
    }

    fn release<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        tombstone: Duration,
    ) -> Reply<'a, Result<Release, StoreError>> {
        Reply::pending(self.release_badly(key, attempt, tombstone))
    }

    fn changed<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Changed, StoreError>> {
        Reply::pending(self.changed_badly(key))
    }

    fn holders<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Vec<Holder>, StoreError>> {
        Reply::pending(self.holders_badly(key))
    }

    fn list(&self, limit: usize) -> Reply<'_, Result<Vec<LockState>, StoreError>> {
        Reply::pending(self.list_badly(limit))
    }
}
