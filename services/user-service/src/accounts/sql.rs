//! Accounts in a SQL database: a column of the users.

use async_trait::async_trait;
use mainstay::event::Events;
use mainstay::sql::{Database, Row};

use super::store::{Account, AccountStore};
use crate::users::{Error, Role, SqlUserRepository, User, Vault, email_key, role_of};

/// See [`AccountStore`].
#[derive(Clone, Debug)]
pub(crate) struct SqlAccountStore {
    db: Database,
    users: SqlUserRepository,
}

impl SqlAccountStore {
    /// As [`SqlUserRepository::new`]. Who signs in reads nothing that is behind.
    pub(crate) fn new(db: Database, events: Events, vault: Vault) -> Self {
        Self { db: db.primary(), users: SqlUserRepository::new(db, events, vault) }
    }
}

#[async_trait]
impl AccountStore for SqlAccountStore {
    async fn register(&self, user: User, password: &str) -> Result<User, Error> {
        let mut tx = self.db.begin().await?;
        self.users.insert(&mut tx, &user).await?;
        let sql = "UPDATE users SET password = ? WHERE id = ?";
        tx.query(sql).bind(password).bind(&user.id).label("accounts.register").execute().await?;
        tx.commit().await?;
        Ok(user)
    }

    async fn by_email(&self, email: &str) -> Result<Option<Account>, Error> {
        let sql = "SELECT id, role, version, password FROM users WHERE email_key = ? AND deleted_at IS NULL";
        let row =
            self.db.query(sql).bind(email_key(email)).label("accounts.by_email").fetch_optional().await?;
        row.as_ref().map(account).transpose()
    }

    async fn by_id(&self, id: &str) -> Result<Option<Account>, Error> {
        let sql = "SELECT id, role, version, password FROM users WHERE id = ? AND deleted_at IS NULL";
        let row = self.db.query(sql).bind(id).label("accounts.by_id").fetch_optional().await?;
        row.as_ref().map(account).transpose()
    }

    async fn set_password(&self, id: &str, before: Option<&str>, password: &str) -> Result<bool, Error> {
        // A comparison with NULL is not true, so "none before" is a statement of its own.
        let changed = match before {
            Some(before) => {
                let sql =
                    "UPDATE users SET password = ? WHERE id = ? AND password = ? AND deleted_at IS NULL";
                self.db
                    .query(sql)
                    .bind(password)
                    .bind(id)
                    .bind(before)
                    .label("accounts.password")
                    .execute()
                    .await?
            }
            None => {
                let sql =
                    "UPDATE users SET password = ? WHERE id = ? AND password IS NULL AND deleted_at IS NULL";
                self.db.query(sql).bind(password).bind(id).label("accounts.password").execute().await?
            }
        };
        Ok(changed == 1)
    }

    async fn has(&self, role: Role) -> Result<bool, Error> {
        let sql =
            "SELECT id FROM users WHERE role = ? AND password IS NOT NULL AND deleted_at IS NULL LIMIT 1";
        let row = self.db.query(sql).bind(role.as_str()).label("accounts.has").fetch_optional().await?;
        Ok(row.is_some())
    }
}

fn account(row: &Row) -> Result<Account, Error> {
    Ok(Account {
        id: row.get("id")?,
        role: role_of(row)?,
        version: row.get("version")?,
        password: row.get("password")?,
    })
}
