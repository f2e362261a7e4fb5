//! Users in a SQL database, whichever it is.

use async_trait::async_trait;
use jiff::Timestamp;
use mainstay::event::Events;
use mainstay::sql::idempotency::{Claim, IdempotencyKeys, StoredResponse};
use mainstay::sql::{Database, Error as SqlError, Row, Transaction};

use super::announcer::Announcer;
use super::model::now;
use super::{Change, Created, Cursor, Error, Once, Page, Role, User, UserPatch, UserRepository};

/// See [`UserRepository`].
#[derive(Clone, Debug)]
pub(crate) struct SqlUserRepository {
    db: Database,
    /// May be a little behind.
    reads: Database,
    announcer: Announcer,
    keys: IdempotencyKeys,
}

impl SqlUserRepository {
    /// The schema must be at [`crate::migrations`], and `events` able to be published in transactions of `db`.
    pub(crate) fn new(db: Database, events: Events) -> Self {
        let (db, reads) = (db.primary(), db);
        Self { db, reads, announcer: Announcer::new(events), keys: IdempotencyKeys::new() }
    }
}

#[async_trait]
impl UserRepository for SqlUserRepository {
    async fn create(&self, user: User, once: Option<&Once>) -> Result<Created, Error> {
        let mut tx = self.db.begin().await?;
        if let Some(once) = once {
            match self.keys.claim(&mut tx, &once.scope, &once.key, &once.fingerprint).await? {
                Claim::Fresh => {}
                Claim::Replay(response) => {
                    return Ok(Created { user: decode(&response.body)?, replayed: true });
                }
                Claim::Mismatch => return Err(Error::KeyReused),
            }
        }
        insert(&mut tx, &user).await?;
        if let Some(once) = once {
            let body = serde_json::to_vec(&user).expect("a user is JSON");
            let response = StoredResponse { status: 201, headers: Vec::new(), body };
            self.keys.complete(&mut tx, &once.scope, &once.key, &response).await?;
        }
        self.announcer.created(&mut tx, &user).await?;
        tx.commit().await?;
        Ok(Created { user, replayed: false })
    }

    async fn get(&self, id: &str) -> Result<Option<User>, Error> {
        let sql = "SELECT id, email, name, phone, role, created_at, updated_at, version FROM users \
                   WHERE id = ? AND deleted_at IS NULL";
        let row = self.db.query(sql).bind(id).label("users.get").fetch_optional().await?;
        row.as_ref().map(user).transpose()
    }

    async fn list(&self, limit: usize, cursor: Option<Cursor>) -> Result<Page, Error> {
        let sql = "SELECT id, email, name, phone, role, created_at, updated_at, version FROM users \
                   WHERE deleted_at IS NULL AND id > ? ORDER BY id LIMIT ?";
        // One more than asked for tells whether there is a next page.
        let fetched = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let after = cursor.map(Cursor::id).unwrap_or_default();
        let rows = self.reads.query(sql).bind(after).bind(fetched).label("users.list").fetch_all().await?;
        let mut items = rows.iter().map(user).collect::<Result<Vec<_>, _>>()?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).and_then(|last| Cursor::after(&last.id));
        Ok(Page { items, next })
    }

    async fn update(&self, id: &str, patch: &UserPatch, expected: Option<i64>) -> Result<Change, Error> {
        let mut tx = self.db.begin().await?;
        let before = current(&mut tx, id, expected).await?;
        let after = patch.apply(&before);
        if after == before {
            return Ok(Change { before, after });
        }
        // The version in the condition is for databases with more than one writer.
        let sql = "UPDATE users SET email = ?, email_key = ?, name = ?, phone = ?, role = ?, updated_at = ?, version = ? \
                   WHERE id = ? AND version = ? AND deleted_at IS NULL";
        let changed = tx
            .query(sql)
            .bind(&after.email)
            .bind(email_key(&after.email))
            .bind(&after.name)
            .bind(after.phone.clone())
            .bind(after.role.as_str())
            .bind(after.updated_at.as_microsecond())
            .bind(after.version)
            .bind(id)
            .bind(before.version)
            .label("users.update")
            .execute()
            .await
            .map_err(taken)?;
        if changed == 0 {
            return Err(Error::Stale { current: before.version });
        }
        let change = Change { before, after };
        self.announcer.updated(&mut tx, &change).await?;
        tx.commit().await?;
        Ok(change)
    }

    async fn delete(&self, id: &str, expected: Option<i64>) -> Result<User, Error> {
        let mut tx = self.db.begin().await?;
        let before = current(&mut tx, id, expected).await?;
        let mut deleted = before.clone();
        deleted.version += 1;
        deleted.updated_at = now().max(before.updated_at);
        let now = deleted.updated_at.as_microsecond();
        let sql = "UPDATE users SET deleted_at = ?, updated_at = ?, version = ?, email_key = ? \
                   WHERE id = ? AND version = ? AND deleted_at IS NULL";
        let changed = tx
            .query(sql)
            .bind(now)
            .bind(now)
            .bind(deleted.version)
            // No address: it has no `@`.
            .bind(format!("deleted:{id}"))
            .bind(id)
            .bind(before.version)
            .label("users.delete")
            .execute()
            .await?;
        if changed == 0 {
            return Err(Error::Stale { current: before.version });
        }
        self.announcer.deleted(&mut tx, &deleted).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    async fn is_known(&self, id: &str) -> Result<bool, Error> {
        let sql = "SELECT id FROM users WHERE id = ?";
        Ok(self.db.query(sql).bind(id).label("users.known").fetch_optional().await?.is_some())
    }

    async fn purge(&self, deleted_before: Timestamp, limit: usize) -> Result<Vec<String>, Error> {
        let before = deleted_before.as_microsecond();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut tx = self.db.begin().await?;
        let due = "SELECT id FROM users WHERE deleted_at < ? ORDER BY id LIMIT ?";
        let rows = tx.query(due).bind(before).bind(limit).label("users.due").fetch_all().await?;
        let ids = rows.iter().map(|row| row.get("id")).collect::<Result<Vec<String>, _>>()?;
        let Some(last) = ids.last() else { return Ok(ids) };
        // The same users: nobody is deleted in the past, and nothing brings one back.
        let sql = "DELETE FROM users WHERE deleted_at < ? AND id <= ?";
        tx.query(sql).bind(before).bind(last).label("users.purge").execute().await?;
        tx.commit().await?;
        Ok(ids)
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.db.query("SELECT id FROM users LIMIT 1").label("users.any").fetch_optional().await?.is_none())
    }
}

async fn insert(tx: &mut Transaction, user: &User) -> Result<(), Error> {
    let sql = "INSERT INTO users (id, email, email_key, name, phone, role, created_at, updated_at, version) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    tx.query(sql)
        .bind(&user.id)
        .bind(&user.email)
        .bind(email_key(&user.email))
        .bind(&user.name)
        .bind(user.phone.clone())
        .bind(user.role.as_str())
        .bind(user.created_at.as_microsecond())
        .bind(user.updated_at.as_microsecond())
        .bind(user.version)
        .label("users.create")
        .execute()
        .await
        .map_err(taken)?;
    Ok(())
}

/// The user inside a transaction, at the expected version.
async fn current(tx: &mut Transaction, id: &str, expected: Option<i64>) -> Result<User, Error> {
    let sql = "SELECT id, email, name, phone, role, created_at, updated_at, version FROM users \
               WHERE id = ? AND deleted_at IS NULL";
    let row = tx.query(sql).bind(id).label("users.current").fetch_optional().await?;
    let user = user(&row.ok_or(Error::NotFound)?)?;
    match expected {
        Some(expected) if expected != user.version => Err(Error::Stale { current: user.version }),
        _ => Ok(user),
    }
}

/// Addresses are compared without regard to case.
fn email_key(email: &str) -> String {
    email.to_lowercase()
}

fn taken(error: SqlError) -> Error {
    match error {
        SqlError::Conflict { constraint } if constraint.contains("email_key") => Error::EmailTaken,
        other => Error::Store(other),
    }
}

fn user(row: &Row) -> Result<User, Error> {
    let role = row.get::<String>("role")?;
    Ok(User {
        id: row.get("id")?,
        email: row.get("email")?,
        name: row.get("name")?,
        phone: row.get("phone")?,
        role: Role::parse(&role)
            .ok_or_else(|| unreadable("role", "not a role this version knows".to_owned()))?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.get("version")?,
    })
}

fn time(row: &Row, column: &str) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|error| unreadable(column, error.to_string()))
}

fn decode(body: &[u8]) -> Result<User, Error> {
    serde_json::from_slice(body).map_err(|error| unreadable("body", error.to_string()))
}

fn unreadable(column: &str, reason: String) -> Error {
    Error::Store(SqlError::Decode { column: column.to_owned(), reason })
}
