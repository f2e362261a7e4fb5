//! A store of `mainstay_core::cache` that fails on purpose.

use std::sync::Arc;

use mainstay_core::cache::{Claim, Entry, Found, Lookup, Outcome, Settled, Store, Target, Token};
use mainstay_core::key::Key;
use mainstay_core::store::{Reply, StoreError};

use super::Faults;

/// A store of the cache that fails as its [`Faults`] say; wake-ups always arrive.
#[derive(Debug)]
pub struct FaultyStore {
    store: Arc<dyn Store>,
    faults: Faults,
}

impl FaultyStore {
    /// Wraps a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, faults: Faults) -> Self {
        Self { store, faults }
    }
}

/// An answer arrives a turn after its question took effect: whoever leaves in between never learns of it.
async fn on_its_way<'a, T: 'a>(ask: impl FnOnce() -> Reply<'a, T>) -> T {
    let answer = ask().await;
    tokio::task::yield_now().await;
    answer
}

impl Store for FaultyStore {
    fn get<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Option<Found>, StoreError>> {
        Reply::pending(self.faults.around(on_its_way(move || self.store.get(key))))
    }

    fn get_many<'a>(&'a self, keys: &'a [Key<'a>]) -> Reply<'a, Result<Vec<Option<Found>>, StoreError>> {
        Reply::pending(self.faults.around(on_its_way(move || self.store.get_many(keys))))
    }

    fn lookup<'a>(&'a self, key: Key<'a>, claim: Claim<'a>) -> Reply<'a, Result<Lookup, StoreError>> {
        Reply::pending(self.faults.around(on_its_way(move || self.store.lookup(key, claim))))
    }

    fn put<'a>(&'a self, entries: &'a [(Key<'a>, Entry)]) -> Reply<'a, Result<(), StoreError>> {
        Reply::pending(self.faults.around(on_its_way(move || self.store.put(entries))))
    }

    fn put_if_newer<'a>(
        &'a self,
        key: Key<'a>,
        entry: Entry,
        version: u64,
    ) -> Reply<'a, Result<bool, StoreError>> {
        Reply::pending(self.faults.around(on_its_way(move || self.store.put_if_newer(key, entry, version))))
    }

    fn settle<'a>(
        &'a self,
        key: Key<'a>,
        token: Token,
        outcome: Outcome,
    ) -> Reply<'a, Result<Settled, StoreError>> {
        Reply::pending(self.faults.around(on_its_way(move || self.store.settle(key, token, outcome))))
    }

    fn invalidate<'a>(&'a self, target: Target<'a>) -> Reply<'a, Result<bool, StoreError>> {
        Reply::pending(self.faults.around(on_its_way(move || self.store.invalidate(target))))
    }

    fn changed(&self, key: Key<'_>) -> Reply<'static, ()> {
        self.store.changed(key)
    }
}
