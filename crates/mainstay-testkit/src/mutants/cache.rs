//! Stores of `mainstay_core::cache` with one bug each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::cache::Memory;
use mainstay_core::cache::{
    Claim, Entry, Found, Lookup, Options, Outcome, Settled, Store, Tag, Target, Token,
};
use mainstay_core::key::Key;
use mainstay_core::store::{Reply, StoreError};
use mainstay_core::time::Clock;
use tokio::sync::Mutex;

/// One bug in the cache's protocol. Each has happened to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Deleting a key leaves its fill lease: a load that began before fills it again (Guava#1881).
    DeleteKeepsTheLease,
    /// A fill does not ask who holds the lease.
    AnyoneMayFill,
    /// A set leaves the fill lease: a slow load replaces the newer value.
    SetKeepsTheLease,
    /// Asking again with the same token finds the key busy: with itself.
    LookupIsNotIdempotent,
    /// The lease is given to everybody: a stampede.
    EveryoneGetsTheLease,
    /// An entry gets the epochs its tags have when it is stored: an invalidation during the load is lost.
    EpochsReadAfterTheLoad,
    /// Stale values are served as fresh.
    StaleIsServedAsFresh,
    /// A lease that is given back wakes nobody.
    NobodyIsWoken,
    /// A stale value is forgotten: it has no second life.
    StaleIsDropped,
    /// A lease that is to be kept is given back at once: a failing source is asked without a pause.
    KeepGivesBack,
    /// A value of any version is stored: a replica that lags brings old ones back.
    OlderVersionsWin,
    /// The deletion of a version is not remembered.
    DeletionForgetsItsVersion,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::DeleteKeepsTheLease,
        Self::AnyoneMayFill,
        Self::SetKeepsTheLease,
        Self::LookupIsNotIdempotent,
        Self::EveryoneGetsTheLease,
        Self::EpochsReadAfterTheLoad,
        Self::StaleIsServedAsFresh,
        Self::NobodyIsWoken,
        Self::StaleIsDropped,
        Self::KeepGivesBack,
        Self::OlderVersionsWin,
        Self::DeletionForgetsItsVersion,
    ];
}

/// The store in this process, with one bug.
#[derive(Debug)]
pub struct Mutant {
    store: Memory,
    bug: Bug,
    /// The leases that are held, by key. Locked over each change, so that the bug is the only one.
    held: Mutex<HashMap<String, Held>>,
}

/// Whose, and for how long.
type Held = (Token, Duration);

impl Mutant {
    /// A store with this bug.
    #[must_use]
    pub fn new(bug: Bug, clock: Clock) -> Self {
        Self { store: Memory::new(&Options::default(), clock), bug, held: Mutex::default() }
    }

    /// Takes a lease again that the good store has broken.
    async fn restore(&self, key: Key<'_>, held: Option<&Held>) -> Result<(), StoreError> {
        if let Some((token, lease)) = held.copied() {
            let claim = Claim { token, lease, min_fresh: Duration::MAX, tags: &[] };
            self.store.lookup(key, claim).await?;
        }
        Ok(())
    }

    async fn lookup_wrongly(&self, key: Key<'_>, claim: Claim<'_>) -> Result<Lookup, StoreError> {
        let mut held = self.held.lock().await;
        let again = held.get(key.name()).is_some_and(|(token, _)| *token == claim.token);
        let known = if self.bug == Bug::EpochsReadAfterTheLoad { &[] } else { claim.tags };
        let lookup = self.store.lookup(key, Claim { tags: known, ..claim }).await?;
        if matches!(lookup, Lookup::Lease { .. }) {
            held.insert(key.name().to_owned(), (claim.token, claim.lease));
        }
        Ok(match (self.bug, lookup) {
            (Bug::LookupIsNotIdempotent, Lookup::Lease { stale, .. }) if again => {
                Lookup::Busy { stale, holder: Some(claim.token), retry_in: claim.lease }
            }
            (Bug::EveryoneGetsTheLease, Lookup::Busy { stale, .. }) => {
                Lookup::Lease { stale, tags: Vec::new() }
            }
            (Bug::EpochsReadAfterTheLoad, Lookup::Lease { stale, .. }) => {
                let tag = |name: &Arc<str>| Tag { name: Arc::clone(name), epoch: Some(0) };
                Lookup::Lease { stale, tags: claim.tags.iter().map(tag).collect() }
            }
            (Bug::StaleIsServedAsFresh, Lookup::Lease { stale: Some(found), .. }) => Lookup::Hit(found),
            (Bug::StaleIsDropped, Lookup::Lease { tags, .. }) => Lookup::Lease { stale: None, tags },
            (_, lookup) => lookup,
        })
    }

    async fn settle_wrongly(
        &self,
        key: Key<'_>,
        token: Token,
        outcome: Outcome,
    ) -> Result<Settled, StoreError> {
        let mut held = self.held.lock().await;
        if held.get(key.name()).is_some_and(|(holder, _)| *holder == token) {
            held.remove(key.name());
        }
        match (self.bug, outcome) {
            (Bug::AnyoneMayFill, Outcome::Fill(entry)) => {
                self.store.put(&[(key, entry)]).await?;
                Ok(Settled::Done)
            }
            (Bug::EpochsReadAfterTheLoad, Outcome::Fill(mut entry)) => {
                entry.tags.iter_mut().for_each(|tag| tag.epoch = None);
                self.store.settle(key, token, Outcome::Fill(entry)).await
            }
            (Bug::KeepGivesBack, Outcome::Keep(_)) => self.store.settle(key, token, Outcome::GiveBack).await,
            (_, outcome) => self.store.settle(key, token, outcome).await,
        }
    }
}

impl Store for Mutant {
    fn get<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Option<Found>, StoreError>> {
        self.store.get(key)
    }

    fn get_many<'a>(&'a self, keys: &'a [Key<'a>]) -> Reply<'a, Result<Vec<Option<Found>>, StoreError>> {
        self.store.get_many(keys)
    }

    fn lookup<'a>(&'a self, key: Key<'a>, claim: Claim<'a>) -> Reply<'a, Result<Lookup, StoreError>> {
        Reply::pending(self.lookup_wrongly(key, claim))
    }

    fn put<'a>(&'a self, entries: &'a [(Key<'a>, Entry)]) -> Reply<'a, Result<(), StoreError>> {
        Reply::pending(async move {
            let mut held = self.held.lock().await;
            self.store.put(entries).await?;
            for (key, _) in entries {
                let held = held.remove(key.name());
                if self.bug == Bug::SetKeepsTheLease {
                    self.restore(*key, held.as_ref()).await?;
                }
            }
            Ok(())
        })
    }

    fn put_if_newer<'a>(
        &'a self,
        key: Key<'a>,
        entry: Entry,
        version: u64,
    ) -> Reply<'a, Result<bool, StoreError>> {
        Reply::pending(async move {
            self.held.lock().await.remove(key.name());
            if self.bug == Bug::OlderVersionsWin {
                return self.store.put(&[(key, entry)]).await.map(|()| true);
            }
            self.store.put_if_newer(key, entry, version).await
        })
    }

    fn settle<'a>(
        &'a self,
        key: Key<'a>,
        token: Token,
        outcome: Outcome,
    ) -> Reply<'a, Result<Settled, StoreError>> {
        Reply::pending(self.settle_wrongly(key, token, outcome))
    }

    fn invalidate<'a>(&'a self, target: Target<'a>) -> Reply<'a, Result<bool, StoreError>> {
        Reply::pending(async move {
            let held = self.held.lock().await;
            if let (Bug::DeletionForgetsItsVersion, Target::Version { key, .. }) = (self.bug, target) {
                return self.store.invalidate(Target::Key(key)).await.map(|_| true);
            }
            let had = self.store.invalidate(target).await?;
            if let (Bug::DeleteKeepsTheLease, Target::Key(key)) = (self.bug, target) {
                self.restore(key, held.get(key.name())).await?;
            }
            Ok(had)
        })
    }

    fn changed(&self, key: Key<'_>) -> Reply<'static, ()> {
        match self.bug {
            Bug::NobodyIsWoken => Reply::pending(std::future::pending()),
            _ => self.store.changed(key),
        }
    }
}

/// A mutant to run the suite on.
#[must_use]
pub fn mutant(bug: Bug, clock: Clock) -> Arc<dyn Store> {
    Arc::new(Mutant::new(bug, clock))
}
