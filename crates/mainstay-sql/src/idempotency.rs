//! Idempotency keys: a client may repeat a request, its effect happens once.
//!
//! The key is stored in the transaction of the effect itself, so a crash leaves both or neither.
//!
//! ```
//! use mainstay_sql::{Database, Migrations, Options};
//! use mainstay_sql::idempotency::{self, Claim, IdempotencyKeys, StoredResponse};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = Database::connect(Options::sqlite_in_memory()).await?;
//! # db.migrate(&Migrations::new([idempotency::migration(1)])).await?;
//! let keys = IdempotencyKeys::new();
//! let mut tx = db.begin().await?;
//! match keys.claim(&mut tx, "POST /orders", "key-1", "hash of the request").await? {
//!     Claim::Fresh => {
//!         // … the effect, in the same transaction …
//!         let response = StoredResponse { status: 201, headers: vec![], body: b"{}".to_vec() };
//!         keys.complete(&mut tx, "POST /orders", "key-1", &response).await?;
//!         tx.commit().await?;
//!     }
//!     Claim::Replay(response) => { /* answer it again */ }
//!     Claim::Mismatch => { /* 422: the key was used for another request */ }
//! }
//! # Ok(()) }
//! ```
//!
//! # Promise
//! For one scope and key, at most one transaction that answered [`Claim::Fresh`] commits within the
//! retention (24 h unless changed). Repetitions get the stored response, byte by byte.
//!
//! # Not promised
//! Nothing about effects outside the database. Where writers run side by side, the second of two first requests
//! waits for the first and gets its answer; if the first fails, one of several may fail with [`Error::Busy`].
//!
//! # If the store is down
//! The claim fails, and so must the effect: it is the same transaction.
//!
//! # Defaults
//! Retention 24 h. Keys are 1 to 128 visible ASCII characters.
//!
//! # Metrics
//! None of its own; the statements are labelled `idempotency.*`.

use std::time::Duration;

use jiff::Timestamp;

use crate::{Database, Dialect, Error, Migration, Transaction};

/// The table, as a migration under the version the service gives it.
pub const fn migration(version: i64) -> Migration {
    Migration::sql(version, "idempotency keys", include_str!("idempotency.sql"))
        .on(Dialect::Postgres, include_str!("idempotency.postgres.sql"))
        .on(Dialect::Mysql, include_str!("idempotency.mysql.sql"))
}

const CLAIM: &str = "INSERT INTO idempotency_keys (scope, idempotency_key, fingerprint, created_at) \
                     VALUES (?, ?, ?, ?) ON CONFLICT (scope, idempotency_key) DO NOTHING";
const CLAIM_MYSQL: &str = "INSERT IGNORE INTO idempotency_keys (scope, idempotency_key, fingerprint, created_at) \
                           VALUES (?, ?, ?, ?)";

/// Whether `key` may be used: 1 to 128 visible ASCII characters.
pub fn is_valid_key(key: &str) -> bool {
    (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An answer as it is kept for repetitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// HTTP status.
    pub status: u16,
    /// Header names and values worth repeating, such as `Location` and `ETag`.
    pub headers: Vec<(String, String)>,
    /// Body, byte by byte.
    pub body: Vec<u8>,
}

/// What a key means for this request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Claim {
    /// First use: do the effect, then [`complete`](IdempotencyKeys::complete), then commit.
    Fresh,
    /// The same request was answered before: repeat this and change nothing.
    Replay(StoredResponse),
    /// The key belongs to a different request: refuse.
    Mismatch,
}

/// The table of keys.
#[derive(Clone, Debug)]
pub struct IdempotencyKeys {
    retention: Duration,
}

impl Default for IdempotencyKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl IdempotencyKeys {
    /// Keys kept for 24 h.
    pub const fn new() -> Self {
        Self { retention: Duration::from_hours(24) }
    }

    /// Keys kept for `retention`.
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Claims `key` within `scope` (method, route and caller) for the request with this `fingerprint`
    /// (everything that makes it the same request, or a hash of it; it is compared exactly).
    ///
    /// # Errors
    /// [`Error::Query`] for a key that is not [valid](is_valid_key); what the database says otherwise.
    pub async fn claim(
        &self,
        tx: &mut Transaction,
        scope: &str,
        key: &str,
        fingerprint: &str,
    ) -> Result<Claim, Error> {
        if !is_valid_key(key) {
            return Err(Error::query("an idempotency key is 1 to 128 visible ASCII characters"));
        }
        let now = Timestamp::now();
        tx.query("DELETE FROM idempotency_keys WHERE scope = ? AND idempotency_key = ? AND created_at < ?")
            .bind(scope)
            .bind(key)
            .bind(self.oldest_kept(now))
            .label("idempotency.expire")
            .execute()
            .await?;
        // First, so that of two at once the second waits here for the first.
        let claimed = tx
            .query(match tx.dialect() {
                Dialect::Mysql => CLAIM_MYSQL,
                _ => CLAIM,
            })
            .bind(scope)
            .bind(key)
            .bind(fingerprint)
            .bind(now.as_microsecond())
            .label("idempotency.claim")
            .execute()
            .await?;
        if claimed == 1 {
            return Ok(Claim::Fresh);
        }
        let row = tx
            .query("SELECT fingerprint, status, headers, body FROM idempotency_keys WHERE scope = ? AND idempotency_key = ?")
            .bind(scope)
            .bind(key)
            .label("idempotency.find")
            .fetch_one()
            .await?;
        if row.get::<String>("fingerprint")? != fingerprint {
            return Ok(Claim::Mismatch);
        }
        let corrupt = |column: &str, reason: String| Error::Decode { column: column.to_owned(), reason };
        Ok(Claim::Replay(StoredResponse {
            status: u16::try_from(row.get::<i64>("status")?).map_err(|e| corrupt("status", e.to_string()))?,
            headers: serde_json::from_str(&row.get::<String>("headers")?)
                .map_err(|e| corrupt("headers", e.to_string()))?,
            body: row.get("body")?,
        }))
    }

    /// Stores the answer of a [fresh](Claim::Fresh) claim, in the same transaction.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the key was not claimed; what the database says otherwise.
    pub async fn complete(
        &self,
        tx: &mut Transaction,
        scope: &str,
        key: &str,
        response: &StoredResponse,
    ) -> Result<(), Error> {
        let headers = serde_json::to_string(&response.headers).expect("a list of string pairs is JSON");
        let changed = tx
            .query("UPDATE idempotency_keys SET status = ?, headers = ?, body = ? WHERE scope = ? AND idempotency_key = ?")
            .bind(i64::from(response.status))
            .bind(headers)
            .bind(&response.body[..])
            .bind(scope)
            .bind(key)
            .label("idempotency.complete")
            .execute()
            .await?;
        if changed == 0 { Err(Error::NotFound) } else { Ok(()) }
    }

    /// Deletes keys older than the retention and answers how many; to be called now and then.
    ///
    /// # Errors
    /// What the database says.
    pub async fn purge(&self, db: &Database) -> Result<u64, Error> {
        db.query("DELETE FROM idempotency_keys WHERE created_at < ?")
            .bind(self.oldest_kept(Timestamp::now()))
            .label("idempotency.purge")
            .execute()
            .await
    }

    fn oldest_kept(&self, now: Timestamp) -> i64 {
        let retention = i64::try_from(self.retention.as_micros()).unwrap_or(i64::MAX);
        now.as_microsecond().saturating_sub(retention)
    }
}

#[cfg(test)]
mod tests {
    use super::is_valid_key;

    #[test]
    fn a_key_is_1_to_128_visible_ascii_characters() {
        let longest = "k".repeat(128);
        for good in ["a", "7f3c-41", "!~", &longest] {
            assert!(is_valid_key(good), "{good:?}");
        }
        let too_long = "k".repeat(129);
        for bad in ["", " ", "a b", "a\n", "\u{7f}", "é", &too_long] {
            assert!(!is_valid_key(bad), "{bad:?}");
        }
    }
}
