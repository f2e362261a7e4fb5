//! Users in a SQL database, whichever it is.

use async_trait::async_trait;
use jiff::Timestamp;
use mainstay::sql::idempotency::{Claim, IdempotencyKeys, StoredResponse};
use mainstay::sql::{Database, Error as SqlError, Row, Transaction};

use super::model::now;
use super::{Created, Cursor, Error, Once, Page, Role, User, UserPatch, UserRepository};

/// See [`UserRepository`].
#[derive(Clone, Debug)]
pub(crate) struct SqlUserRepository {
    db: Database,
    keys: IdempotencyKeys,
}

impl SqlUserRepository {
    /// The schema must be at [`super::migrations`].
    pub(crate) fn new(db: Database) -> Self {
        Self { db, keys: IdempotencyKeys::new() }
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
        let rows = self.db.query(sql).bind(after).bind(fetched).label("users.list").fetch_all().await?;
        let mut items = rows.iter().map(user).collect::<Result<Vec<_>, _>>()?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).and_then(|last| Cursor::after(&last.id));
        Ok(Page { items, next })
    }

    async fn update(&self, id: &str, patch: &UserPatch, expected: Option<i64>) -> Result<User, Error> {
        let mut tx = self.db.begin().await?;
        let before = current(&mut tx, id, expected).await?;
        let after = patch.apply(&before);
        if after == before {
            return Ok(before);
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
        tx.commit().await?;
        Ok(after)
    }

    async fn delete(&self, id: &str, expected: Option<i64>) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let before = current(&mut tx, id, expected).await?;
        let now = now().max(before.updated_at).as_microsecond();
        let sql = "UPDATE users SET deleted_at = ?, updated_at = ?, version = ?, email_key = ? \
                   WHERE id = ? AND version = ? AND deleted_at IS NULL";
        let changed = tx
            .query(sql)
            .bind(now)
            .bind(now)
            .bind(before.version + 1)
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
        tx.commit().await?;
        Ok(())
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
