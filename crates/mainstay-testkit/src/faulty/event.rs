//! A store of `mainstay_core::event` that fails on purpose.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::store::{
    Dead, Delivery, Fetch, History, Opening, Published, QueueStats, Receipt, Standing, Start, Store, Verdict,
};
use mainstay_core::event::{Envelope, EventId, Pattern, Queue};
use mainstay_core::store::{Reply, StoreError};

use super::Faults;

/// A store around a store; what goes wrong is said by the faults.
#[derive(Debug)]
pub struct FaultyStore<S> {
    store: S,
    faults: Faults,
    is_durable: bool,
}

impl<S: Store> FaultyStore<S> {
    /// The store, which fails as `faults` say.
    #[must_use]
    pub const fn new(store: S, faults: Faults) -> Self {
        Self { store, faults, is_durable: false }
    }

    /// Says that it outlives the process.
    #[must_use]
    pub fn durable(self) -> Self {
        Self { is_durable: true, ..self }
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn publish<'a>(&'a self, events: &'a [Arc<Envelope>]) -> Reply<'a, Result<Published, StoreError>> {
        Reply::pending(self.faults.around(async { self.store.publish(events).await }))
    }

    fn open<'a>(&'a self, queue: &'a Queue, opening: Opening) -> Reply<'a, Result<(), StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.open(queue, opening).await }))
    }

    fn fetch<'a>(
        &'a self,
        queue: &'a Queue,
        want: Fetch<'a>,
    ) -> Reply<'a, Result<Vec<Delivery>, StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.fetch(queue, want).await }))
    }

    fn settle<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        verdict: Verdict,
    ) -> Reply<'a, Result<Standing, StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.settle(queue, receipt, verdict).await }))
    }

    fn extend<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        visibility: Duration,
    ) -> Reply<'a, Result<Standing, StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.extend(queue, receipt, visibility).await }))
    }

    fn retire<'a>(&'a self, queue: &'a Queue) -> Reply<'a, Result<usize, StoreError>> {
        Reply::pending(self.faults.around(async { self.store.retire(queue).await }))
    }

    fn stats(&self) -> Reply<'_, Result<Vec<QueueStats>, StoreError>> {
        Reply::pending(self.faults.around(async { self.store.stats().await }))
    }

    fn dead_letters<'a>(
        &'a self,
        queue: &'a Queue,
        limit: usize,
    ) -> Reply<'a, Result<Vec<Dead>, StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.dead_letters(queue, limit).await }))
    }

    fn redrive<'a>(&'a self, queue: &'a Queue, id: EventId) -> Reply<'a, Result<bool, StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.redrive(queue, id).await }))
    }

    fn rewind<'a>(&'a self, queue: &'a Queue, from: Start) -> Reply<'a, Result<(), StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.rewind(queue, from).await }))
    }

    fn history<'a>(
        &'a self,
        pattern: &'a Pattern,
        from: Start,
        limit: usize,
    ) -> Reply<'a, Result<History, StoreError>> {
        Reply::pending(self.faults.around(async move { self.store.history(pattern, from, limit).await }))
    }

    fn is_volatile(&self) -> bool {
        !self.is_durable && self.store.is_volatile()
    }
}
