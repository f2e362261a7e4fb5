//! The one subscription behind the readers of a feed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{broadcast, oneshot};
use tokio_util::sync::CancellationToken;

use super::super::Envelope;
use super::super::consumer::{FETCH_WAIT, Outage};
use super::super::store::{Delivery, Fetch, Opening, Queue, Store, Verdict};
use super::recent::Recent;
use crate::store::StoreError;

/// Most events in one question to the store.
const BATCH: usize = 256;

/// What readers are told.
#[derive(Debug, Clone)]
pub(super) enum Live {
    /// The next event, in the store's order.
    Event(Arc<Envelope>),
    /// Events may be missing here: the history has them.
    Torn,
}

/// Takes events out of a queue of its own as fast as they come. In one task, so that their order stays.
pub(super) struct Pump {
    pub(super) store: Arc<dyn Store>,
    pub(super) queue: Queue,
    pub(super) name: String,
    pub(super) visibility: Duration,
    pub(super) op_timeout: Duration,
}

impl Pump {
    /// Until `ended`, or until the queue could not be opened in the first place.
    pub(super) async fn run(
        self,
        live: broadcast::Sender<Live>,
        opened: oneshot::Sender<Result<(), StoreError>>,
        ended: CancellationToken,
    ) {
        ended.run_until_cancelled(self.work(&live, opened)).await;
        drop(live);
        // Full, it would hold up every publisher.
        let _retired = self.store.retire(&self.queue).within(self.op_timeout).await;
    }

    async fn work(&self, live: &broadcast::Sender<Live>, opened: oneshot::Sender<Result<(), StoreError>>) {
        let answer = self.open().await;
        let failed = answer.is_err();
        // Nobody waits for it if the feed was given up meanwhile; then this ends, too.
        let _heard = opened.send(answer);
        if failed {
            return;
        }
        let mut recent = Recent::default();
        let mut outage = Outage::default();
        loop {
            match self.fetch().await {
                Ok(deliveries) => {
                    if outage.over(&self.queue) {
                        self.tell(live, Live::Torn);
                    }
                    self.pass_on(deliveries, live, &mut recent).await;
                }
                Err(error) => {
                    tokio::time::sleep(outage.again(&self.queue, &error)).await;
                    // A store that was away may have forgotten the queue.
                    let _tried = self.open().await;
                }
            }
        }
    }

    async fn pass_on(&self, deliveries: Vec<Delivery>, live: &broadcast::Sender<Live>, recent: &mut Recent) {
        for Delivery { receipt, event } in &deliveries {
            // What is delivered once more was told before, or was in an answer that was lost: a tear in the feed.
            if recent.insert(event.id) && receipt.attempt == 1 {
                self.tell(live, Live::Event(Arc::clone(event)));
            }
        }
        join_all(deliveries.iter().map(|delivery| {
            let settled = self.store.settle(&self.queue, delivery.receipt, Verdict::Done);
            // If it does not work, the event comes again, and is known.
            settled.within(self.op_timeout)
        }))
        .await;
    }

    fn tell(&self, live: &broadcast::Sender<Live>, next: Live) {
        // An error is that nobody reads at the moment.
        let _readers = live.send(next);
    }

    async fn open(&self) -> Result<(), StoreError> {
        self.store.open(&self.queue, Opening::NOW).within(self.op_timeout).await
    }

    async fn fetch(&self) -> Result<Vec<Delivery>, StoreError> {
        let (consumer, visibility) = (&*self.name, self.visibility);
        let want = Fetch { consumer, credits: BATCH, visibility, wait: FETCH_WAIT };
        self.store.fetch(&self.queue, want).within(FETCH_WAIT.saturating_add(self.op_timeout)).await
    }
}
