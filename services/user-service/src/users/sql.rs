//! Users in a SQL database, whichever it is.

use async_trait::async_trait;
use jiff::Timestamp;
use mainstay::event::Events;
use mainstay::sql::idempotency::{Claim, IdempotencyKeys, StoredResponse};
use mainstay::sql::{Database, Dialect, Error as SqlError, Row, Transaction};

use super::announcer::Announcer;
use super::model::now;
use super::{
    Change, Created, Cursor, Error, Once, Page, Resealed, Role, User, UserPatch, UserRepository, Vault,
};

/// See [`UserRepository`].
#[derive(Clone, Debug)]
pub(crate) struct SqlUserRepository {
    db: Database,
    /// May be a little behind.
    reads: Database,
    announcer: Announcer,
    keys: IdempotencyKeys,
    vault: Vault,
}

impl SqlUserRepository {
    /// The schema must be at [`crate::migrations`], and `events` able to be published in transactions of `db`.
    pub(crate) fn new(db: Database, events: Events, vault: Vault) -> Self {
        let (db, reads) = (db.primary(), db);
        Self { db, reads, announcer: Announcer::new(events), keys: IdempotencyKeys::new(), vault }
    }

    /// Creates a user and announces it, in a transaction of this database.
    ///
    /// # Errors
    /// As [`UserRepository::create`].
    pub(crate) async fn insert(&self, tx: &mut Transaction, user: &User) -> Result<(), Error> {
        insert(tx, user, &self.vault).await?;
        self.announcer.created(tx, user).await
    }

    /// Seals the number in this row under the key of today, unless it is or the number changed meanwhile.
    async fn reseal_one(&self, id: &str, row: &Row) -> Result<bool, Error> {
        let (sealed, plain) =
            (row.get::<Option<String>>("phone_sealed")?, row.get::<Option<String>>("phone")?);
        let changed = match (sealed, plain) {
            (Some(sealed), _) => {
                let Some(fresh) = self.vault.reseal_phone(id, &sealed)? else { return Ok(false) };
                let sql =
                    "UPDATE users SET phone_sealed = ?, phone_index = ? WHERE id = ? AND phone_sealed = ?";
                let query = self.db.query(sql).bind(fresh.text).bind(fresh.index).bind(id).bind(sealed);
                query.label("users.reseal").execute().await?
            }
            (None, Some(plain)) => {
                let (sealed, index) = self.vault.seal_phone(id, Some(&plain))?;
                let sql = "UPDATE users SET phone = NULL, phone_sealed = ?, phone_index = ? WHERE id = ? AND phone = ?";
                let query = self.db.query(sql).bind(sealed).bind(index).bind(id).bind(plain);
                query.label("users.seal").execute().await?
            }
            (None, None) => 0,
        };
        Ok(changed == 1)
    }
}

#[async_trait]
impl UserRepository for SqlUserRepository {
    async fn create(&self, user: User, once: Option<&Once>) -> Result<Created, Error> {
        let mut tx = self.db.begin().await?;
        if let Some(once) = once {
            let request = self.vault.fingerprint(&once.fingerprint);
            match self.keys.claim(&mut tx, &once.scope, &once.key, &request).await? {
                Claim::Fresh => {}
                Claim::Replay(response) => {
                    let user = self.vault.open_answer(&once.key, &response.body)?;
                    return Ok(Created { user, replayed: true });
                }
                Claim::Mismatch => return Err(Error::KeyReused),
            }
        }
        self.insert(&mut tx, &user).await?;
        if let Some(once) = once {
            let body = self.vault.seal_answer(&once.key, &user)?;
            let response = StoredResponse { status: 201, headers: Vec::new(), body };
            self.keys.complete(&mut tx, &once.scope, &once.key, &response).await?;
        }
        tx.commit().await?;
        Ok(Created { user, replayed: false })
    }

    async fn get(&self, id: &str) -> Result<Option<User>, Error> {
        let sql = "SELECT id, email, name, phone, phone_sealed, role, created_at, updated_at, version FROM users \
                   WHERE id = ? AND deleted_at IS NULL";
        let row = self.db.query(sql).bind(id).label("users.get").fetch_optional().await?;
        row.as_ref().map(|row| user(row, &self.vault)).transpose()
    }

    async fn list(&self, limit: usize, cursor: Option<Cursor>) -> Result<Page, Error> {
        let sql = "SELECT id, email, name, phone, phone_sealed, role, created_at, updated_at, version FROM users \
                   WHERE deleted_at IS NULL AND id > ? ORDER BY id LIMIT ?";
        // One more than asked for tells whether there is a next page.
        let fetched = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let after = cursor.map(Cursor::id).unwrap_or_default();
        let rows = self.reads.query(sql).bind(after).bind(fetched).label("users.list").fetch_all().await?;
        let mut items = rows.iter().map(|row| user(row, &self.vault)).collect::<Result<Vec<_>, _>>()?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).and_then(|last| Cursor::after(&last.id));
        Ok(Page { items, next })
    }

    async fn update(&self, id: &str, patch: &UserPatch, expected: Option<i64>) -> Result<Change, Error> {
        let mut tx = self.db.begin().await?;
        let before = current(&mut tx, id, expected, &self.vault).await?;
        let after = patch.apply(&before);
        if after == before {
            return Ok(Change { before, after });
        }
        let (phone, phone_index) = self.vault.seal_phone(id, after.phone.as_deref())?;
        let sql = "UPDATE users SET email = ?, email_key = ?, name = ?, phone = NULL, phone_sealed = ?, \
                   phone_index = ?, role = ?, updated_at = ?, version = ? WHERE id = ?";
        tx.query(sql)
            .bind(&after.email)
            .bind(email_key(&after.email))
            .bind(&after.name)
            .bind(phone)
            .bind(phone_index)
            .bind(after.role.as_str())
            .bind(after.updated_at.as_microsecond())
            .bind(after.version)
            .bind(id)
            .label("users.update")
            .execute()
            .await
            .map_err(taken)?;
        let change = Change { before, after };
        self.announcer.updated(&mut tx, &change).await?;
        tx.commit().await?;
        Ok(change)
    }

    async fn delete(&self, id: &str, expected: Option<i64>) -> Result<User, Error> {
        let mut tx = self.db.begin().await?;
        let before = current(&mut tx, id, expected, &self.vault).await?;
        let mut deleted = before.clone();
        deleted.version += 1;
        deleted.updated_at = now().max(before.updated_at);
        let now = deleted.updated_at.as_microsecond();
        let sql = "UPDATE users SET deleted_at = ?, updated_at = ?, version = ?, email_key = ? WHERE id = ?";
        tx.query(sql)
            .bind(now)
            .bind(now)
            .bind(deleted.version)
            // No address: it has no `@`.
            .bind(format!("deleted:{id}"))
            .bind(id)
            .label("users.delete")
            .execute()
            .await?;
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

    async fn by_phone(&self, phone: &str) -> Result<Vec<User>, Error> {
        let sql = "SELECT id, email, name, phone, phone_sealed, role, created_at, updated_at, version FROM users \
                   WHERE phone_index = ? AND deleted_at IS NULL ORDER BY id LIMIT 100";
        let mut users = Vec::new();
        for index in self.vault.phone_indexes(phone) {
            for row in self.db.query(sql).bind(index).label("users.by_phone").fetch_all().await? {
                users.push(user(&row, &self.vault)?);
            }
        }
        // A digest may be shared; the number is not.
        users.retain(|user| user.phone.as_deref() == Some(phone));
        Ok(users)
    }

    async fn reseal(&self, after: &str, limit: usize) -> Result<Resealed, Error> {
        let sql = "SELECT id, phone, phone_sealed FROM users \
                   WHERE id > ? AND (phone IS NOT NULL OR phone_sealed IS NOT NULL) ORDER BY id LIMIT ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.db.query(sql).bind(after).bind(limit).label("users.sealed").fetch_all().await?;
        let mut resealed = Resealed::default();
        for row in &rows {
            let id = row.get::<String>("id")?;
            resealed.changed += u64::from(self.reseal_one(&id, row).await?);
            resealed.last = Some(id);
        }
        Ok(resealed)
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.db.query("SELECT id FROM users LIMIT 1").label("users.any").fetch_optional().await?.is_none())
    }
}

async fn insert(tx: &mut Transaction, user: &User, vault: &Vault) -> Result<(), Error> {
    let (phone, phone_index) = vault.seal_phone(&user.id, user.phone.as_deref())?;
    let sql = "INSERT INTO users (id, email, email_key, name, phone_sealed, phone_index, role, created_at, \
               updated_at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    tx.query(sql)
        .bind(&user.id)
        .bind(&user.email)
        .bind(email_key(&user.email))
        .bind(&user.name)
        .bind(phone)
        .bind(phone_index)
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

const CURRENT: &str = "SELECT id, email, name, phone, phone_sealed, role, created_at, updated_at, version \
                       FROM users WHERE id = ? AND deleted_at IS NULL";
/// SQLite, which has one writer, has no words for it.
const CURRENT_FOR_UPDATE: &str = "SELECT id, email, name, phone, phone_sealed, role, created_at, updated_at, version \
     FROM users WHERE id = ? AND deleted_at IS NULL FOR UPDATE";

/// The user inside a transaction, at the expected version. Nobody else changes it before the transaction ends.
async fn current(
    tx: &mut Transaction,
    id: &str,
    expected: Option<i64>,
    vault: &Vault,
) -> Result<User, Error> {
    let sql = if tx.dialect() == Dialect::Sqlite { CURRENT } else { CURRENT_FOR_UPDATE };
    let row = tx.query(sql).bind(id).label("users.current").fetch_optional().await?;
    let user = user(&row.ok_or(Error::NotFound)?, vault)?;
    match expected {
        Some(expected) if expected != user.version => Err(Error::Stale { current: user.version }),
        _ => Ok(user),
    }
}

/// Addresses are compared without regard to case.
pub(crate) fn email_key(email: &str) -> String {
    email.to_lowercase()
}

fn taken(error: SqlError) -> Error {
    match error {
        SqlError::Conflict { constraint } if constraint.contains("email_key") => Error::EmailTaken,
        other => Error::Store(other),
    }
}

fn user(row: &Row, vault: &Vault) -> Result<User, Error> {
    let id = row.get::<String>("id")?;
    let phone = match row.get::<Option<String>>("phone_sealed")? {
        Some(sealed) => Some(vault.open_phone(&id, &sealed)?),
        None => row.get("phone")?,
    };
    Ok(User {
        id,
        email: row.get("email")?,
        name: row.get("name")?,
        phone,
        role: role_of(row)?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        version: row.get("version")?,
    })
}

/// The role in a row of users.
pub(crate) fn role_of(row: &Row) -> Result<Role, Error> {
    let role = row.get::<String>("role")?;
    Role::parse(&role).ok_or_else(|| unreadable("role", "not a role this version knows".to_owned()))
}

fn time(row: &Row, column: &str) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|error| unreadable(column, error.to_string()))
}

fn unreadable(column: &str, reason: String) -> Error {
    Error::Store(SqlError::Decode { column: column.to_owned(), reason })
}
