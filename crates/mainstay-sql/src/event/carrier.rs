//! How a transaction takes events with it.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use mainstay_core::event::Envelope;
use mainstay_core::event::store::{Published, Transactional};
use mainstay_core::store::{Reply, StoreError};

use super::verbs::Ground;
use super::writer::before;
use super::{Inner, other_topics, refused};
use crate::Transaction;
use crate::outbox;

/// Where events go that are published in a transaction of a database.
#[derive(Clone, Debug)]
pub(crate) enum Carrier {
    /// To its own queues.
    Queues(Weak<Inner>),
    /// To the outbox, for another store.
    Outbox(Weak<outbox::Inner>),
}

impl Transactional for Transaction {
    fn record<'a>(&'a mut self, events: &'a [Arc<Envelope>]) -> Reply<'a, Result<Published, StoreError>> {
        if let Some(refused) = other_topics(events) {
            return Reply::ready(Err(refused));
        }
        Reply::pending(async move {
            match self.carrier() {
                Some(Carrier::Queues(inner)) => match inner.upgrade() {
                    Some(inner) => queue(inner, self, events).await,
                    None => Err(StoreError::unavailable("the event store was closed")),
                },
                Some(Carrier::Outbox(inner)) => match inner.upgrade() {
                    Some(inner) => outbox::record(&inner, self, events).await,
                    None => Err(StoreError::unavailable("the outbox was closed")),
                },
                None => Err(StoreError::rejected(
                    "this database carries no events: give it to `SqlEvents` or `Outbox` first",
                )),
            }
        })
    }
}

async fn queue(
    inner: Arc<Inner>,
    tx: &mut Transaction,
    events: &[Arc<Envelope>],
) -> Result<Published, StoreError> {
    let mut filled = BTreeSet::new();
    let mut ground = Ground { tx, options: &inner.options, now: inner.now(), filled: &mut filled };
    ground.enter().await.map_err(|error| before(&error))?;
    let published = ground.publish(events).await.map_err(|refusal| refused(None, refusal))?;
    tx.on_commit(move || inner.wake(&filled));
    Ok(published)
}
