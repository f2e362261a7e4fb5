//! A store of `mainstay_core::lock` that fails on purpose.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::key::Key;
use mainstay_core::lock::{
    Acquired, Changed, Claim, Fence, Holder, LockState, Release, Renewed, Store, Token,
};
use mainstay_core::store::{Reply, StoreError};

use super::Faults;

/// A lock store whose calls go wrong as its [`Faults`] say. No answer is there at once, as on a network.
#[derive(Debug)]
pub struct Faulty {
    store: Arc<dyn Store>,
    faults: Faults,
}

impl Faulty {
    /// Wraps `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, faults: Faults) -> Self {
        Self { store, faults }
    }
}

impl Store for Faulty {
    fn acquire<'a>(&'a self, key: Key<'a>, claim: Claim) -> Reply<'a, Result<Acquired, StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.acquire(key, claim).await }))
    }

    fn renew<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        fence: Fence,
        ttl: Duration,
    ) -> Reply<'a, Result<Renewed, StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.renew(key, attempt, fence, ttl).await }))
    }

    fn release<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        tombstone: Duration,
    ) -> Reply<'a, Result<Release, StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.release(key, attempt, tombstone).await }))
    }

    fn changed<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Changed, StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.changed(key).await }))
    }

    fn holders<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Vec<Holder>, StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.holders(key).await }))
    }

    fn list(&self, limit: usize) -> Reply<'_, Result<Vec<LockState>, StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.list(limit).await }))
    }
}
