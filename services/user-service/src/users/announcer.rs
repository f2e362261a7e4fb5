//! Tells others what happened to users.

use mainstay::event::{Error, EventId, Events};
use mainstay::metrics::{Counter, Metrics, Unit};
use serde::Serialize;

use super::event::{CREATED, DELETED, UPDATED, UserCreated, UserDeleted, UserUpdated};
use super::{Change, User};

const UNPUBLISHED: &str = "user_events_unpublished_total";

/// Publishes after the commit. Between the two a crash loses the event, and one that cannot be published is
/// only logged and counted, because the write has happened: an outbox, which keeps the event in the
/// transaction of the write, would close that gap.
#[derive(Clone)]
pub(super) struct Announcer {
    events: Events,
    unpublished: Counter,
}

impl Announcer {
    pub(super) fn new(events: Events, metrics: &Metrics) -> Self {
        metrics.describe_counter(UNPUBLISHED, Unit::None, "Changes of users whose event was not published.");
        Self { events, unpublished: metrics.counter(UNPUBLISHED).with(&[]) }
    }

    pub(super) async fn created(&self, user: &User) {
        let data = UserCreated { id: user.id.clone(), version: user.version };
        self.publish(CREATED, user, &data).await;
    }

    /// Nothing, where nothing changed.
    pub(super) async fn updated(&self, change: &Change) {
        let (user, changed) = (&change.after, change.fields());
        if !changed.is_empty() {
            let changed = changed.into_iter().map(str::to_owned).collect();
            let data = UserUpdated { id: user.id.clone(), version: user.version, changed };
            self.publish(UPDATED, user, &data).await;
        }
    }

    pub(super) async fn deleted(&self, user: &User) {
        let data = UserDeleted { id: user.id.clone(), version: user.version };
        self.publish(DELETED, user, &data).await;
    }

    async fn publish(&self, kind: &'static str, user: &User, data: &(impl Serialize + Sync)) {
        // The time of the write, so that a trail reads in the order of versions.
        let event = self.events.event(kind).subject(format!("user/{}", user.id)).time(user.updated_at);
        let published: Result<EventId, Error> = event.publish(data).await;
        if let Err(error) = published {
            self.unpublished.increment(1);
            tracing::error!(%error, event = kind, user = user.id, version = user.version, "event not published");
        }
    }
}
