//! Writes that a holder of a lock cannot make any more once a later holder has written.
//!
//! A row that is written under a lock has a column for the fence of its last writer. A [`Fenced`] statement sets it and
//! is refused where it is higher: whoever slept through the end of its lock comes too late.
//!
//! ```
//! use mainstay_sql::fence::{Error, Fence};
//! use mainstay_sql::{Database, Migration, Migrations, Options};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = Database::connect(Options::sqlite_in_memory()).await?;
//! let table = "CREATE TABLE reports (id BIGINT PRIMARY KEY, total BIGINT, fence BIGINT NOT NULL DEFAULT 0)";
//! db.migrate(&Migrations::new([Migration::sql(1, "reports", table)])).await?;
//! db.query("INSERT INTO reports (id) VALUES (?)").bind(1).execute().await?;
//!
//! let (earlier, later) = (Fence::from(7), Fence::from(8)); // as `guard.fence()` says
//! let write = |fence, total| {
//!     db.fenced("UPDATE reports SET fence = ?, total = ? WHERE id = ? AND fence <= ?", fence).bind(total).bind(1)
//! };
//! write(later, 100).execute().await?;
//! assert!(matches!(write(earlier, 99).execute().await, Err(Error::Stale)));
//! # Ok(()) }
//! ```

pub use mainstay_core::lock::Fence;

use crate::{Database, Query, Transaction, Value};

/// Why a fenced statement did not write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A later holder has written, or there is no such row. Give up: what was worked out under the lock is outdated.
    #[error("a later holder of the lock has written, or there is no such row")]
    Stale,
    /// The database failed. Outside a transaction a [timeout](crate::Error::Timeout) leaves the outcome unknown;
    /// writing again under the same fence is safe.
    #[error(transparent)]
    Database(#[from] crate::Error),
}

/// A statement under a fence, being built; see [`Database::fenced`].
#[must_use = "a statement does nothing until it is executed"]
pub struct Fenced<'a> {
    query: Query<'a>,
    sql: &'static str,
    fence: Fence,
}

impl Database {
    /// A statement that changes one row unless a higher fence has changed it before. It reads
    /// `UPDATE … SET fence = ?, … WHERE … AND fence <= ?`, whatever the column is called: the fence is bound to the
    /// first and to the last placeholder, [`Fenced::bind`] to those between. An `OR` stands in parentheses.
    pub fn fenced(&self, sql: &'static str, fence: Fence) -> Fenced<'_> {
        Fenced::new(self.query(sql), sql, fence)
    }
}

impl Transaction {
    /// As [`Database::fenced`]. A refusal leaves the transaction as it was.
    pub fn fenced(&mut self, sql: &'static str, fence: Fence) -> Fenced<'_> {
        Fenced::new(self.query(sql), sql, fence)
    }
}

impl<'a> Fenced<'a> {
    fn new(query: Query<'a>, sql: &'static str, fence: Fence) -> Self {
        Self { query: query.bind(stored(fence)), sql, fence }
    }

    /// As [`Query::bind`].
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.query = self.query.bind(value);
        self
    }

    /// As [`Query::label`].
    pub fn label(mut self, label: &'static str) -> Self {
        self.query = self.query.label(label);
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Database`] with [`Query`](crate::Error::Query) for a statement that does not set and
    /// compare the fence (nothing was run), or that changed several rows (it did).
    pub async fn execute(self) -> Result<(), Error> {
        let refused = |reason: &str| Err(Error::Database(crate::Error::query(reason)));
        if !is_fenced(self.sql) {
            return refused("a fenced statement reads UPDATE … SET fence = ?, … WHERE … AND fence <= ?");
        }
        if i64::try_from(self.fence.get()).is_err() {
            return refused("a fence must be below 2^63");
        }
        match self.query.bind(stored(self.fence)).execute().await? {
            0 => Err(Error::Stale),
            1 => Ok(()),
            _ => refused("a fenced statement must change one row, and this one changed several"),
        }
    }
}

fn stored(fence: Fence) -> i64 {
    i64::try_from(fence.get()).unwrap_or(i64::MAX)
}

/// Whether the first placeholder sets the column that the last one bounds, for every row. Otherwise the fence would
/// protect nothing, and nobody would notice.
fn is_fenced(sql: &str) -> bool {
    let spaced = sql.trim_end().trim_end_matches(';').replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let set = words.iter().position(|word| word.eq_ignore_ascii_case("set"));
    let updates = words.first().is_some_and(|verb| verb.eq_ignore_ascii_case("update"));
    let (Some(set), [.., and, bounded, "<=", "?"]) = (set, &words[..]) else { return false };
    let [column, "=", first, next, ..] = words[set + 1..] else { return false };
    let alone =
        first == "?," || first == "?" && (next.starts_with(',') || next.eq_ignore_ascii_case("where"));
    let and = and.eq_ignore_ascii_case("and");
    updates && alone && column == *bounded && and && is_one_condition(&words[set..])
}

/// Whether what stands last bounds all of the `WHERE`: there is one, with no `OR` but in parentheses, and no comment.
fn is_one_condition(words: &[&str]) -> bool {
    let Some(from) = words.iter().position(|word| word.eq_ignore_ascii_case("where")) else { return false };
    let mut depth = 0_i32;
    words[from..].iter().all(|word| {
        depth += i32::from(*word == "(") - i32::from(*word == ")");
        let beside = depth <= 0 && word.eq_ignore_ascii_case("or");
        !beside && !word.contains("--") && !word.contains("/*")
    })
}

#[cfg(test)]
mod tests {
    use super::is_fenced;

    #[test]
    fn a_statement_sets_its_fence_first_and_compares_it_last() {
        for good in [
            "UPDATE reports SET fence = ?, total = ? WHERE id = ? AND fence <= ?",
            "update r set last_fence = ? where id = ? and last_fence <= ?;",
            "UPDATE reports SET fence = ? , total = ? WHERE (id = ? OR (name = ? or id = ?)) AND fence <= ?",
            "UPDATE reports\n  SET fence = ?,\n  total = 1\n  WHERE id = 1\n  AND fence <= ?\n",
        ] {
            assert!(is_fenced(good), "{good}");
        }
        for bad in [
            "",
            "?",
            "UPDATE reports SET total = ? WHERE id = ?",
            "UPDATE reports SET total = ?, fence = ? WHERE id = ? AND fence <= ?",
            "UPDATE reports SET fence = ?, total = ? WHERE id = ?",
            "UPDATE reports SET fence = ? WHERE id = ? AND fence < ?",
            "UPDATE reports SET fence = ? WHERE id = ? AND other <= ?",
            "UPDATE reports SET fence = ? WHERE id = ? OR fence <= ?",
            "SELECT 1 AND set fence = ? AND fence <= ?",
            "UPDATE reports SET fence = ?, total = 1 AND fence <= ?",
            "UPDATE reports SET fence = ? WHERE id = ? OR name = ? AND fence <= ?",
            "UPDATE reports SET fence = ? WHERE (id = ? OR id = ?) or name = ? AND fence <= ?",
            "UPDATE reports SET fence = ? WHERE id = ? -- AND fence <= ?",
            "UPDATE reports SET fence = ? + 1 WHERE id = ? AND fence <= ?",
        ] {
            assert!(!is_fenced(bad), "{bad}");
        }
    }
}
