//! Tells others what happened to users.

use mainstay::event::Events;
use mainstay::sql::Transaction;
use serde::Serialize;

use super::event::{CREATED, DELETED, UPDATED, UserCreated, UserDeleted, UserUpdated};
use super::{Change, Error, User};

/// Publishes in the transaction of the write: there is no change without its event and no event without its change,
/// whatever dies in between. While subscribers do not keep up, a write is refused instead of left unannounced.
#[derive(Clone, Debug)]
pub(super) struct Announcer {
    events: Events,
}

impl Announcer {
    pub(super) const fn new(events: Events) -> Self {
        Self { events }
    }

    pub(super) async fn created(&self, tx: &mut Transaction, user: &User) -> Result<(), Error> {
        let data = UserCreated { id: user.id.clone(), version: user.version };
        self.publish(tx, CREATED, user, &data).await
    }

    pub(super) async fn updated(&self, tx: &mut Transaction, change: &Change) -> Result<(), Error> {
        let user = &change.after;
        let changed = change.fields().into_iter().map(str::to_owned).collect();
        let data = UserUpdated { id: user.id.clone(), version: user.version, changed };
        self.publish(tx, UPDATED, user, &data).await
    }

    pub(super) async fn deleted(&self, tx: &mut Transaction, user: &User) -> Result<(), Error> {
        let data = UserDeleted { id: user.id.clone(), version: user.version };
        self.publish(tx, DELETED, user, &data).await
    }

    async fn publish(
        &self,
        tx: &mut Transaction,
        kind: &str,
        user: &User,
        data: &(impl Serialize + Sync),
    ) -> Result<(), Error> {
        // The time of the write, so that a trail reads in the order of versions.
        let event = self.events.event(kind).subject(format!("user/{}", user.id)).time(user.updated_at);
        event.publish_in(tx, data).await?;
        Ok(())
    }
}
