//! The trail in a SQL database, whichever it is.

use async_trait::async_trait;
use jiff::Timestamp;
use mainstay::event::EventId;
use mainstay::sql::inbox::Inbox;
use mainstay::sql::{Database, Error as SqlError, Row};
use uuid::Uuid;

use super::{AUDIT, AuditEntry, AuditPage, AuditTrail, Place};
use crate::users::Error;

/// See [`AuditTrail`].
#[derive(Clone, Debug)]
pub(crate) struct SqlAuditTrail {
    db: Database,
    inbox: Inbox,
}

impl SqlAuditTrail {
    /// The schema must be at [`crate::migrations`].
    pub(crate) fn new(db: Database) -> Self {
        Self { db, inbox: Inbox::new(AUDIT) }
    }
}

#[async_trait]
impl AuditTrail for SqlAuditTrail {
    async fn record(&self, user: &str, entry: &AuditEntry) -> Result<bool, Error> {
        let sql = "INSERT INTO user_audit (event_id, user_id, event, occurred_at, version, details) \
                   VALUES (?, ?, ?, ?, ?, ?)";
        let mut tx = self.db.begin().await?;
        if !self.inbox.first(&mut tx, EventId::from_uuid(entry.id)).await? {
            return Ok(false);
        }
        tx.query(sql)
            .bind(entry.id.to_string())
            .bind(user)
            .bind(&entry.event)
            .bind(entry.at.as_microsecond())
            .bind(entry.version)
            .bind(serde_json::to_string(&entry.details).expect("a list of texts is JSON"))
            .label("audit.record")
            .execute()
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn list(&self, user: &str, limit: usize, place: Option<Place>) -> Result<AuditPage, Error> {
        let sql = "SELECT event_id, event, occurred_at, version, details FROM user_audit \
                   WHERE user_id = ? AND (version > ? OR (version = ? AND event_id > ?)) \
                   ORDER BY version, event_id LIMIT ?";
        let (version, event) = place.map_or((i64::MIN, Uuid::nil()), |place| (place.version, place.event));
        let event = event.to_string();
        // One more than asked for tells whether there is a next page.
        let fetched = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let query = self.db.query(sql).bind(user).bind(version).bind(version).bind(event).bind(fetched);
        let rows = query.label("audit.list").fetch_all().await?;
        let mut items = rows.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(AuditEntry::place);
        Ok(AuditPage { items, next })
    }
}

fn entry(row: &Row) -> Result<AuditEntry, Error> {
    let (id, details): (String, String) = (row.get("event_id")?, row.get("details")?);
    Ok(AuditEntry {
        id: Uuid::try_parse(&id).map_err(|error| unreadable("event_id", error.to_string()))?,
        event: row.get("event")?,
        at: Timestamp::from_microsecond(row.get("occurred_at")?)
            .map_err(|error| unreadable("occurred_at", error.to_string()))?,
        version: row.get("version")?,
        details: serde_json::from_str(&details).map_err(|error| unreadable("details", error.to_string()))?,
    })
}

fn unreadable(column: &str, reason: String) -> Error {
    Error::Store(SqlError::Decode { column: column.to_owned(), reason })
}
