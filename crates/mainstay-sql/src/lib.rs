//! Data access: one handle, portable statements, transactions, migrations, idempotency keys and cached queries.
//!
//! A [`Database`] is a cheap clone without type parameters. It speaks SQL text with `?` placeholders and
//! portable [`Value`]s, so a repository written against it runs unchanged on every backend. SQLite is the
//! first backend; PostgreSQL and MySQL implement the same private contract (`backend.rs`).
//!
//! ```
//! use mainstay_sql::{Database, Migration, Migrations, Options};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), mainstay_sql::Error> {
//! let db = Database::connect(Options::sqlite_in_memory()).await?;
//! db.migrate(&Migrations::new([Migration::sql(1, "notes", "CREATE TABLE notes (id BIGINT PRIMARY KEY, body TEXT)")]))
//!     .await?;
//!
//! let mut tx = db.begin().await?;
//! tx.query("INSERT INTO notes (id, body) VALUES (?, ?)").bind(1).bind("hello").execute().await?;
//! tx.commit().await?;
//!
//! let row = db.query("SELECT body FROM notes WHERE id = ?").bind(1).fetch_one().await?;
//! assert_eq!(row.get::<String>("body")?, "hello");
//! # Ok(()) }
//! ```
//!
//! # Promise
//! - A statement outside a transaction is atomic; a transaction is all or nothing. One that is dropped,
//!   cancelled or hit by a panic is rolled back at once and its connection is clean for the next user.
//! - Every wait has a deadline: a free connection ([`Options::acquire_timeout`]) and each statement
//!   ([`Options::statement_timeout`]). An abandoned statement is interrupted, not left running.
//! - Values are always bound, never pasted: statements are `&'static str`.
//! - Any number of processes may call [`Database::migrate`] at once: one migrates, the others wait.
//!
//! # Not promised
//! - A read outside a transaction may run on another connection than the write before it. On one SQLite
//!   database it sees every commit that returned before it started; a later read replica may lag.
//! - A write outside a transaction, or a commit, that ends in [`Error::Timeout`] may or may not have happened; at a
//!   server so may one that ends in [`Error::Unavailable`]: its answer can be lost on the way.
//! - In an in-memory database reads share the one connection with transactions: reading through the
//!   [`Database`] while holding a [`Transaction`] waits until the acquire timeout.
//! - SQLite works on threads of its own, which tokio's paused clock does not see: in a test with paused
//!   time the deadlines fire at once.
//!
//! # If the store is down
//! Calls fail with [`Error::Unavailable`] (cannot open, pool exhausted), [`Error::Busy`] (another process
//! holds the write lock for longer than 5 s), [`Error::Full`], [`Error::ReadOnly`] or [`Error::Corrupt`];
//! nothing is retried behind the caller's back. [`Error::is_transient`] says whether a retry can help.
//!
//! # Defaults
//! SQLite: write-ahead log, one writer, up to 10 readers, 5 s busy timeout, foreign keys on,
//! `synchronous = NORMAL`, files 0600 in a directory 0700. Acquire 30 s, idle 10 s, statement 30 s,
//! slow query 1 s.
//!
//! # Metrics
//! [`Database::stats`] is read when metrics are collected; [`Observer`] is told about every statement.
//! Statements slower than [`Options::slow_query`] are logged under the target `mainstay_sql`.

mod altered;
mod backend;
pub mod cached;
mod database;
mod dialect;
mod error;
pub mod event;
pub mod fence;
pub mod idempotency;
pub mod inbox;
mod migrate;
#[cfg(feature = "mysql")]
mod mysql;
mod observe;
mod options;
pub mod outbox;
mod pool;
mod pooled;
#[cfg(feature = "postgres")]
mod postgres;
mod row;
mod server;
pub mod session;
mod sqlite;
mod transaction;
mod value;

pub use database::{Database, Query};
pub use dialect::Dialect;
pub use error::{Error, MigrationError};
pub use migrate::{Applied, Migration, MigrationState, MigrationStatus, Migrations};
pub use observe::{Observer, PoolStats};
pub use options::{Options, Synchronous};
pub use row::Row;
pub use server::Tls;
pub use transaction::Transaction;
pub use value::{FromValue, Value};
