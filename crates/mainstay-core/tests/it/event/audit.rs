//! A store that writes down what really happened, behind whatever goes wrong in front of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::event::store::{
    Dead, Delivery, Fetch, History, Opening, Published, Receipt, Standing, Start, Verdict,
};
use mainstay_core::event::{Envelope, EventId, Memory, Pattern, Queue, QueueStats, Store};
use mainstay_core::store::{Reply, StoreError};

#[derive(Debug)]
pub(super) struct Audit {
    store: Memory,
    pub(super) books: Arc<Mutex<Books>>,
}

/// What became of each event in each queue.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) accepted: HashSet<EventId>,
    positions: HashMap<(Queue, u128), EventId>,
    pub(super) ended: HashMap<Queue, HashMap<EventId, Vec<Verdict>>>,
}

impl Audit {
    pub(super) fn new(store: Memory) -> Self {
        Self { store, books: Arc::default() }
    }
}

impl Store for Audit {
    fn publish<'a>(&'a self, events: &'a [Arc<Envelope>]) -> Reply<'a, Result<Published, StoreError>> {
        let answer = Store::publish(&self.store, events).now().unwrap();
        if answer == Ok(Published::Accepted) {
            self.books.lock().unwrap().accepted.extend(events.iter().map(|event| event.id));
        }
        Reply::ready(answer)
    }

    fn open<'a>(&'a self, queue: &'a Queue, opening: Opening) -> Reply<'a, Result<(), StoreError>> {
        self.store.open(queue, opening)
    }

    fn fetch<'a>(
        &'a self,
        queue: &'a Queue,
        want: Fetch<'a>,
    ) -> Reply<'a, Result<Vec<Delivery>, StoreError>> {
        Reply::pending(async move {
            let deliveries = self.store.fetch(queue, want).await?;
            let mut books = self.books.lock().unwrap();
            for delivery in &deliveries {
                books.positions.insert((queue.clone(), delivery.receipt.position), delivery.event.id);
            }
            Ok(deliveries)
        })
    }

    fn settle<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        verdict: Verdict,
    ) -> Reply<'a, Result<Standing, StoreError>> {
        let answer = Store::settle(&self.store, queue, receipt, verdict.clone()).now().unwrap();
        if answer == Ok(Standing::Held) && !matches!(verdict, Verdict::Retry { .. }) {
            let mut books = self.books.lock().unwrap();
            let id = books.positions[&(queue.clone(), receipt.position)];
            books.ended.entry(queue.clone()).or_default().entry(id).or_default().push(verdict);
        }
        Reply::ready(answer)
    }

    fn extend<'a>(
        &'a self,
        queue: &'a Queue,
        receipt: Receipt,
        visibility: Duration,
    ) -> Reply<'a, Result<Standing, StoreError>> {
        self.store.extend(queue, receipt, visibility)
    }

    fn retire<'a>(&'a self, queue: &'a Queue) -> Reply<'a, Result<usize, StoreError>> {
        Store::retire(&self.store, queue)
    }

    fn stats(&self) -> Reply<'_, Result<Vec<QueueStats>, StoreError>> {
        Store::stats(&self.store)
    }

    fn dead_letters<'a>(
        &'a self,
        queue: &'a Queue,
        limit: usize,
    ) -> Reply<'a, Result<Vec<Dead>, StoreError>> {
        self.store.dead_letters(queue, limit)
    }

    fn redrive<'a>(&'a self, queue: &'a Queue, id: EventId) -> Reply<'a, Result<bool, StoreError>> {
        self.store.redrive(queue, id)
    }

    fn rewind<'a>(&'a self, queue: &'a Queue, from: Start) -> Reply<'a, Result<(), StoreError>> {
        self.store.rewind(queue, from)
    }

    fn history<'a>(
        &'a self,
        pattern: &'a Pattern,
        from: Start,
        limit: usize,
    ) -> Reply<'a, Result<History, StoreError>> {
        self.store.history(pattern, from, limit)
    }

    fn is_volatile(&self) -> bool {
        true
    }
}
