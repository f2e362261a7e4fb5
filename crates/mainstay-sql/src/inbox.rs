//! The inbox: an event may be delivered twice, its effect happens once.
//!
//! The event's id is stored in the transaction of the effect itself, so a crash leaves both or neither, and whoever
//! gets the event again finds it handled. With an outbox or a durable store before it, that is exactly once in effect.
//!
//! ```
//! use mainstay_core::event::EventId;
//! use mainstay_sql::inbox::{self, Inbox};
//! use mainstay_sql::{Database, Migrations, Options};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = Database::connect(Options::sqlite_in_memory()).await?;
//! # db.migrate(&Migrations::new([inbox::migration(1)])).await?;
//! # let event = EventId::at(jiff::Timestamp::now());
//! let inbox = Inbox::new("billing");
//! // In a handler, for each delivery:
//! let mut tx = db.begin().await?;
//! if inbox.first(&mut tx, event).await? {
//!     // … the effect, in the same transaction …
//!     tx.commit().await?;
//! }
//! # Ok(()) }
//! ```
//!
//! # Promise
//! For one group and event, at most one transaction in which [`Inbox::first`] answered `true` commits within the
//! retention.
//!
//! # Not promised
//! Nothing about effects outside the database. On databases without a single writer the second of two that handle an
//! event at once waits for the first, and fails or finds it handled.
//!
//! # If the store is down
//! The claim fails, and so must the effect: it is the same transaction. The handler fails, and the event comes again.
//!
//! # Defaults
//! Retention 7 days: longer than any event waits in a queue, dead letters apart.
//!
//! # Metrics
//! None of its own; the statements are labelled `inbox.*`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_core::event::EventId;

use crate::{Database, Dialect, Error, Migration, Transaction};

/// The table, as a migration under the version the service gives it.
#[must_use]
pub const fn migration(version: i64) -> Migration {
    Migration::sql(version, "inbox", include_str!("inbox.sql"))
        .on(Dialect::Mysql, include_str!("inbox.mysql.sql"))
}

/// What one group has handled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inbox {
    group: Arc<str>,
    retention: Duration,
}

impl Inbox {
    /// The inbox of a group, at most 128 bytes long, with ids kept for 7 days.
    #[must_use]
    pub fn new(group: impl Into<Arc<str>>) -> Self {
        Self { group: group.into(), retention: Duration::from_hours(7 * 24) }
    }

    /// Ids kept for `retention`: longer than an event can take to be delivered again.
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Whether the event is to be handled, in this transaction. `false`: it was, by one that has committed.
    ///
    /// # Errors
    /// [`Error::Query`] for a group of more than 128 bytes; what the database says otherwise.
    pub async fn first(&self, tx: &mut Transaction, event: EventId) -> Result<bool, Error> {
        if self.group.len() > 128 {
            return Err(Error::query("the group of an inbox has at most 128 bytes"));
        }
        let sql = match tx.dialect() {
            Dialect::Mysql => {
                "INSERT IGNORE INTO mainstay_inbox (consumers, event_id, handled_at) VALUES (?, ?, ?)"
            }
            _ => {
                "INSERT INTO mainstay_inbox (consumers, event_id, handled_at) VALUES (?, ?, ?) \
                 ON CONFLICT (consumers, event_id) DO NOTHING"
            }
        };
        let claim = tx.query(sql).bind(&*self.group).bind(event.to_string());
        let claimed = claim.bind(Timestamp::now().as_microsecond()).label("inbox.first").execute().await?;
        Ok(claimed == 1)
    }

    /// Deletes the ids of this group that are older than the retention and answers how many; to be called now and
    /// then.
    ///
    /// # Errors
    /// What the database says.
    pub async fn purge(&self, db: &Database) -> Result<u64, Error> {
        let retention = i64::try_from(self.retention.as_micros()).unwrap_or(i64::MAX);
        let oldest = Timestamp::now().as_microsecond().saturating_sub(retention);
        let sql = "DELETE FROM mainstay_inbox WHERE consumers = ? AND handled_at < ?";
        db.query(sql).bind(&*self.group).bind(oldest).label("inbox.purge").execute().await
    }
}
