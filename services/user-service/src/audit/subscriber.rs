//! Writes the trail from the events of users.

use std::time::Duration;

use mainstay::backoff::Backoff;
use mainstay::event::{self, Event, Events, Outcome};
use serde::Deserialize;

use super::{AUDIT, Audit, AuditEntry, Details};
use crate::accounts::event as account;
use crate::users::Error;
use crate::users::event::{CREATED, DELETED, UPDATED};

/// What every event of a user says, read tolerantly: later versions may say more.
#[derive(Debug, Deserialize)]
struct UserEvent {
    id: String,
    version: i64,
    #[serde(flatten)]
    details: Details,
}

/// A database that is away for some minutes leaves no gap: about ten are tried.
const ATTEMPTS: u32 = 25;

/// Listens until [`Events`] stops, which lets it finish first. Of all instances one hears each event.
pub(crate) struct AuditSubscriber {
    audit: Audit,
    events: Events,
}

impl AuditSubscriber {
    pub(crate) fn new(audit: Audit, events: Events) -> Self {
        Self { audit, events }
    }

    pub(crate) async fn start(&self) -> Result<(), event::Error> {
        for kind in [CREATED, UPDATED, DELETED, account::ALL] {
            let audit = self.audit.clone();
            self.events
                .on(kind)
                .group(AUDIT)
                .patient()
                .retries(Backoff::new(Duration::from_millis(100), Duration::from_secs(30)), ATTEMPTS)
                .handle(move |event: Event<UserEvent>| {
                    let audit = audit.clone();
                    async move { record(&audit, event).await }
                })
                .await?;
        }
        Ok(())
    }
}

/// At least once becomes once: the trail knows an event by its id.
async fn record(audit: &Audit, event: Event<UserEvent>) -> Outcome {
    let entry = AuditEntry {
        id: event.id.uuid(),
        event: event.kind.to_string(),
        at: event.time,
        version: event.data.version,
        details: event.data.details,
    };
    match audit.record(&event.data.id, &entry).await {
        Ok(_) => Outcome::Done,
        Err(Error::Store(error)) if error.is_transient() => Outcome::Failed { reason: error.to_string() },
        Err(error) => Outcome::Reject { reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use mainstay::metrics::Metrics;
    use mainstay::sql;
    use mainstay::time::Clock;
    use serde_json::json;

    use super::*;
    use crate::audit::{AuditPage, AuditTrail, Place, SqlAuditTrail};
    use crate::ground::{self, in_memory};
    use crate::users::SqlUserRepository;

    /// A trail whose first entries are refused by a busy database.
    struct Busy {
        times: AtomicUsize,
        trail: SqlAuditTrail,
    }

    #[async_trait]
    impl AuditTrail for Busy {
        async fn record(&self, user: &str, entry: &AuditEntry) -> Result<bool, Error> {
            let busy =
                self.times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            match busy {
                Ok(_) => Err(Error::Store(sql::Error::Busy { reason: "on purpose".to_owned() })),
                Err(_) => self.trail.record(user, entry).await,
            }
        }

        async fn list(&self, user: &str, limit: usize, place: Option<Place>) -> Result<AuditPage, Error> {
            self.trail.list(user, limit, place).await
        }
    }

    async fn subscribed(busy: usize) -> (Audit, Events) {
        let db = in_memory().await;
        let trail = Busy { times: AtomicUsize::new(busy), trail: SqlAuditTrail::new(db.clone()) };
        let users = SqlUserRepository::new(db.clone(), ground::events(&db), ground::vault());
        let audit = Audit::new(Arc::new(trail), Arc::new(users));
        let events = Events::in_memory(event::Options::default(), &Metrics::new(), Clock::system());
        AuditSubscriber::new(audit.clone(), events.clone()).start().await.unwrap();
        (audit, events)
    }

    /// What the trail says once every event is handled.
    async fn trail_of(user: &str, audit: &Audit, events: &Events) -> AuditPage {
        events.stop(Duration::from_secs(60)).await.unwrap();
        audit.of(user, None, None).await.unwrap()
    }

    #[tokio::test]
    async fn a_busy_database_leaves_no_gap() {
        let (audit, events) = subscribed(3).await;
        events.publish(CREATED, &json!({"id": "u", "version": 1})).await.unwrap();
        assert_eq!(trail_of("u", &audit, &events).await.items.len(), 1);
    }

    #[tokio::test]
    async fn an_event_that_says_more_is_recorded_and_one_that_says_less_is_not() {
        let (audit, events) = subscribed(0).await;
        events.publish(UPDATED, &json!({"id": "u"})).await.unwrap();
        events
            .publish(UPDATED, &json!({"id": "u", "version": 3, "changed": ["name"], "by": "x"}))
            .await
            .unwrap();
        let page = trail_of("u", &audit, &events).await;
        assert_eq!(page.items.len(), 1);
        assert_eq!(page.items[0].details.changed, ["name"]);
    }
}
