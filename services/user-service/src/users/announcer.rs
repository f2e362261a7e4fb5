//! Tells others what happened to users.

use std::time::Duration;

use mainstay::backoff::Backoff;
use mainstay::event::{EventId, Events};
use mainstay::metrics::{Counter, Metrics, Unit};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::event::{CREATED, DELETED, UPDATED, UserCreated, UserDeleted, UserUpdated};
use super::{Change, User};

const UNPUBLISHED: &str = "user_events_unpublished_total";

/// How long a write waits for the bus to take its event: less than a shutdown gives to writes.
const PATIENCE: Duration = Duration::from_secs(4);

/// Publishes after the commit. While subscribers do not keep up the write is not answered, so that writers come
/// no faster than the trail. Between the two a crash loses the event, and one that cannot be published is only
/// logged and counted, because the write has happened: an outbox, which keeps the event in the transaction of
/// the write, would close that gap.
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
        let started = Instant::now();
        let backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(200));
        // The time of the write, so that a trail reads in the order of versions; one id for all attempts.
        let event = self.events.event(kind).subject(format!("user/{}", user.id)).time(user.updated_at);
        let event = event.id(EventId::at(user.updated_at));
        let mut failures = 0;
        while let Err(error) = event.clone().publish(data).await {
            let wait = backoff.delay(failures);
            if !error.is_transient() || started.elapsed() + wait > PATIENCE {
                self.unpublished.increment(1);
                tracing::error!(%error, event = kind, user = user.id, version = user.version, "event not published");
                return;
            }
            sleep(wait).await;
            failures += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay::event::{Event, Options};
    use mainstay::time::Clock;
    use serde_json::Value;

    use super::*;
    use crate::users::contract::someone;

    /// Room for one event, and a subscriber who takes `pace` for each.
    async fn announcer(pace: Duration) -> (Announcer, Events) {
        let (mut options, metrics) = (Options::default(), Metrics::new());
        options.memory.queue = 1;
        let events = Events::in_memory(options, &metrics, Clock::system());
        let handle = move |_: Event<Value>| sleep(pace);
        events.on(CREATED).group("slow").handler_timeout(2 * pace).handle(handle).await.unwrap();
        (Announcer::new(events.clone(), &metrics), events)
    }

    #[tokio::test(start_paused = true)]
    async fn writers_wait_for_subscribers_who_do_not_keep_up() {
        let (announcer, _events) = announcer(Duration::from_secs(1)).await;
        for _ in 0..5 {
            announcer.created(&someone("ada@example.com")).await;
        }
        assert_eq!(announcer.unpublished.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_who_is_stuck_holds_a_writer_up_for_seconds_only() {
        let (announcer, _events) = announcer(Duration::from_secs(3600)).await;
        announcer.created(&someone("ada@example.com")).await;
        let started = Instant::now();
        announcer.created(&someone("ada@example.com")).await;
        assert_eq!(announcer.unpublished.get(), 1);
        assert!(started.elapsed() <= PATIENCE);
    }
}
