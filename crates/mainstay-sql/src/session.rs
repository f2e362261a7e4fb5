//! Sessions in the database, for [`mainstay_auth::session::Sessions`].
//!
//! # Promise
//! As of [`SessionStore`], whose suite it passes: each verb that writes is one transaction. Of tokens no more
//! than digests is kept.
//!
//! # Not promised
//! That rows of sessions that are over go away by themselves: [`Sessions::purge`](mainstay_auth::session::Sessions::purge)
//! removes them.
//!
//! # If the store is down
//! Nothing begins or goes on. A commit that was cut off is [`StoreError::Unknown`]; everything else is
//! [`StoreError::Unavailable`], and nothing has happened.
//!
//! # Defaults
//! None.
//!
//! # Metrics
//! None of its own; the statements are labelled `session.*`.

use async_trait::async_trait;
use jiff::Timestamp;
use mainstay_auth::session::{Bounds, Digest, NewSession, Rotated, Rotation, Session, SessionStore};
use mainstay_core::store::StoreError;

use crate::{Database, Dialect, Error, Migration, Row, Transaction};

/// The table, as a migration under the version the service gives it; see
/// [`Migrations::with_sessions`](crate::Migrations::with_sessions).
#[must_use]
pub const fn migration(version: i64) -> Migration {
    Migration::sql(version, "sessions", include_str!("session.sql"))
        .on(Dialect::Mysql, include_str!("session.mysql.sql"))
}

/// Sessions in a database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqlSessions {
    db: Database,
}

impl SqlSessions {
    /// Sessions in the [table](migration) of this database.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a handle is given away")]
    pub fn new(db: Database) -> Self {
        Self { db: db.primary() }
    }

    async fn begin(&self) -> Result<Transaction, StoreError> {
        self.db.begin().await.map_err(undone)
    }
}

#[async_trait]
impl SessionStore for SqlSessions {
    async fn open(&self, new: &NewSession, most: usize) -> Result<Vec<String>, StoreError> {
        let session = &new.session;
        let subject = digest(&session.subject);
        let mut tx = self.begin().await?;
        tx.query(
            "INSERT INTO auth_sessions \
             (family, id, subject, subject_digest, about, token, opened_at, used_at, rotated_at, expires_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.family.to_string())
        .bind(&session.id)
        .bind(&session.subject)
        .bind(&subject)
        .bind(&session.about)
        .bind(new.token.to_string())
        .bind(session.opened.as_microsecond())
        .bind(session.used.as_microsecond())
        .bind(session.opened.as_microsecond())
        .bind(session.expires.as_microsecond())
        .label("session.open")
        .execute()
        .await
        .map_err(undone)?;
        let rows = tx
            .query("SELECT id FROM auth_sessions WHERE subject_digest = ? ORDER BY used_at DESC, id")
            .bind(&subject)
            .label("session.count")
            .fetch_all()
            .await
            .map_err(undone)?;
        let surplus = ids(rows.get(most..).unwrap_or_default())?;
        for id in &surplus {
            tx.query("DELETE FROM auth_sessions WHERE id = ?")
                .bind(id)
                .label("session.make_room")
                .execute()
                .await
                .map_err(undone)?;
        }
        tx.commit().await.map_err(uncertain)?;
        Ok(surplus)
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<Rotated, StoreError> {
        let Rotation { bounds, grace_since, .. } = rotation;
        let (family, presented) = (rotation.family.to_string(), rotation.presented.to_string());
        let mut tx = self.begin().await?;
        let fresh = tx
            .query(
                "UPDATE auth_sessions SET token = ?, previous = ?, rotated_at = ?, used_at = ? \
                 WHERE family = ? AND token = ? AND expires_at > ? AND used_at >= ?",
            )
            .bind(rotation.next.to_string())
            .bind(&presented)
            .bind(bounds.now.as_microsecond())
            .bind(bounds.now.as_microsecond())
            .bind(&family)
            .bind(&presented)
            .bind(bounds.now.as_microsecond())
            .bind(bounds.idle_since.as_microsecond())
            .label("session.rotate")
            .execute()
            .await
            .map_err(undone)?;
        let row = tx
            .query(
                "SELECT id, subject, about, opened_at, used_at, expires_at, previous, rotated_at \
                 FROM auth_sessions WHERE family = ?",
            )
            .bind(&family)
            .label("session.find")
            .fetch_optional()
            .await
            .map_err(undone)?;
        let Some(row) = row else { return Ok(Rotated::Unknown) };
        let session = session(&row)?;
        if fresh == 1 {
            tx.commit().await.map_err(uncertain)?;
            return Ok(Rotated::Fresh(session));
        }
        if !bounds.admit(&session) {
            return Ok(Rotated::Unknown);
        }
        let last = row.get::<Option<String>>("previous").map_err(undone)?;
        if last.as_ref() == Some(&presented) && moment(&row, "rotated_at")? >= *grace_since {
            return Ok(Rotated::Elsewhere);
        }
        tx.query("DELETE FROM auth_sessions WHERE family = ?")
            .bind(&family)
            .label("session.reused")
            .execute()
            .await
            .map_err(undone)?;
        tx.commit().await.map_err(uncertain)?;
        Ok(Rotated::Reused(session))
    }

    async fn revoke(&self, id: &str, owner: Option<&str>) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let query = match owner {
            None => tx.query("DELETE FROM auth_sessions WHERE id = ?").bind(id),
            Some(owner) => tx
                .query("DELETE FROM auth_sessions WHERE id = ? AND subject_digest = ?")
                .bind(id)
                .bind(digest(owner)),
        };
        let revoked = query.label("session.revoke").execute().await.map_err(undone)?;
        tx.commit().await.map_err(uncertain)?;
        Ok(revoked > 0)
    }

    async fn revoke_all(&self, subject: &str, but: Option<&str>) -> Result<Vec<String>, StoreError> {
        // No session has an empty id.
        let (subject, but) = (digest(subject), but.unwrap_or_default());
        let mut tx = self.begin().await?;
        let rows = tx
            .query("SELECT id FROM auth_sessions WHERE subject_digest = ? AND id <> ?")
            .bind(&subject)
            .bind(but)
            .label("session.find_all")
            .fetch_all()
            .await
            .map_err(undone)?;
        tx.query("DELETE FROM auth_sessions WHERE subject_digest = ? AND id <> ?")
            .bind(&subject)
            .bind(but)
            .label("session.revoke_all")
            .execute()
            .await
            .map_err(undone)?;
        tx.commit().await.map_err(uncertain)?;
        ids(&rows)
    }

    async fn list(&self, subject: &str, bounds: Bounds) -> Result<Vec<Session>, StoreError> {
        let rows = self
            .db
            .query(
                "SELECT id, subject, about, opened_at, used_at, expires_at FROM auth_sessions \
                 WHERE subject_digest = ? AND expires_at > ? AND used_at >= ? ORDER BY used_at DESC, id",
            )
            .bind(digest(subject))
            .bind(bounds.now.as_microsecond())
            .bind(bounds.idle_since.as_microsecond())
            .label("session.list")
            .fetch_all()
            .await
            .map_err(undone)?;
        rows.iter().map(session).collect()
    }

    async fn purge(&self, bounds: Bounds) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let purged = tx
            .query("DELETE FROM auth_sessions WHERE expires_at <= ? OR used_at < ?")
            .bind(bounds.now.as_microsecond())
            .bind(bounds.idle_since.as_microsecond())
            .label("session.purge")
            .execute()
            .await
            .map_err(undone)?;
        tx.commit().await.map_err(uncertain)?;
        Ok(purged)
    }
}

fn digest(subject: &str) -> String {
    Digest::of(subject.as_bytes()).to_string()
}

fn ids(rows: &[Row]) -> Result<Vec<String>, StoreError> {
    rows.iter().map(|row| row.get("id").map_err(undone)).collect()
}

fn session(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        id: row.get("id").map_err(undone)?,
        subject: row.get("subject").map_err(undone)?,
        about: row.get("about").map_err(undone)?,
        opened: moment(row, "opened_at")?,
        used: moment(row, "used_at")?,
        expires: moment(row, "expires_at")?,
    })
}

fn moment(row: &Row, column: &str) -> Result<Timestamp, StoreError> {
    let micros = row.get(column).map_err(undone)?;
    Timestamp::from_microsecond(micros).map_err(|error| StoreError::rejected(error.to_string()))
}

/// Of a read, or of a statement in a transaction that is rolled back: nothing has happened.
#[expect(clippy::needless_pass_by_value, reason = "stands where an error is mapped")]
fn undone(error: Error) -> StoreError {
    crate::event::before(&error)
}

/// Of a commit.
fn uncertain(error: Error) -> StoreError {
    match error {
        Error::Timeout { .. } | Error::Unavailable { .. } => StoreError::unknown(error.to_string()),
        error => undone(error),
    }
}
