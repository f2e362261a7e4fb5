//! What a pool and the layers above it need of a driver.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::migrate::Migrate;

use super::Pool;
use crate::backend::Statement;
use crate::migrate::{Applied, Migration};
use crate::{Dialect, Error, Row};

/// One connection of a driver. Errors are ours by the time they leave it.
pub(crate) trait Connection: Sized + Send + 'static {
    /// Where and how to connect; its text names the store in errors, without secrets.
    type Target: Display + Send + Sync + 'static;
    /// The driver's own connection.
    type Raw: Migrate + Send;

    const DIALECT: Dialect;
    /// Opens a transaction that may write.
    const BEGIN: &'static str;
    /// Reads something that only a store that works can answer.
    const PING: &'static str;
    /// A row if the driver's table of migrations exists.
    const FIND_HISTORY: &'static str;

    fn open(target: &Arc<Self::Target>) -> impl Future<Output = Result<Self, Error>> + Send;
    fn execute(&mut self, statement: &Statement) -> impl Future<Output = Result<u64, Error>> + Send;
    fn fetch_all(&mut self, statement: &Statement) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;
    fn fetch_optional(
        &mut self,
        statement: &Statement,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send;
    /// Runs a statement without values or rows, such as `BEGIN`, that may not be preparable.
    fn control(&mut self, sql: &'static str) -> impl Future<Output = Result<(), Error>> + Send;

    /// Whether nothing more will come of it: the store has gone, or hung up.
    fn is_broken(&self) -> bool;
    /// Its user left it with a statement that runs, or with an open transaction. Returns at once.
    fn abandon(self, left: Left) -> Abandoned<Self>;
    /// Whether it may be lent, after it was kept for a while.
    fn settle(&mut self, kept: std::time::Duration) -> impl Future<Output = bool> + Send;
    fn close(self) -> impl Future<Output = ()> + Send;

    fn raw(&mut self) -> &mut Self::Raw;
    /// The driver's error in our words.
    fn translate(error: sqlx::Error, target: &Self::Target) -> Error;
    /// Applies what is missing, under a lock that excludes other processes.
    fn migrate(
        pool: &Arc<Pool<Self>>,
        migrations: &[Migration],
    ) -> impl Future<Output = Result<Applied, Error>> + Send;
}

/// How a user left its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// In the middle of a statement.
    Running,
    /// Between two statements of a transaction.
    InTransaction,
}

/// What becomes of an abandoned connection.
pub(crate) enum Abandoned<C> {
    /// It is settled before its next use.
    Kept(C),
    /// Work that undoes what is open, and answers the connection if it is clean then.
    #[cfg_attr(not(any(feature = "postgres", feature = "mysql")), expect(dead_code, reason = "for servers"))]
    Later(BoxFuture<'static, Option<C>>),
}
