//! One connection and the rule that keeps it clean.
//!
//! Whoever gives up a statement does not wait for it. If one runs, a second connection tells the server to end it
//! (`KILL`, while the first is still held, so that its number is nobody else's; not if it leads to another server of the
//! same name), and both are closed; if only a transaction is open, it is rolled back and the connection goes back to the pool. Should the server not answer,
//! the connection is closed after a moment: the server ends a statement by itself after the backstop (MySQL: one
//! that only reads), and a transaction when it sees the connection closed.

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Error as DriverError, Executor, Row as _};
use tokio::time::timeout;

use super::error::{ends_connection, translate};
use super::{Target, codec, migrate};
use crate::backend::Statement;
use crate::migrate::{Applied, Migration};
use crate::pool::{self, Abandoned, Left, Pool};
use crate::{Dialect, Error, Row};

/// How long the server may take to undo what was abandoned.
const UNDO: Duration = Duration::from_secs(5);
/// One that was idle for longer is asked whether it is still there.
const FRESH: Duration = Duration::from_secs(1);

/// Standard quotes for names, no escapes in strings, nothing cut or rounded to fit.
const SESSION: &str = "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,STRICT_ALL_TABLES,\
    NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY'; \
    SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; ";

const ABOUT: &str = "SELECT CONNECTION_ID() AS number, VERSION() AS version, @@max_allowed_packet AS most, \
    CONCAT_WS(' ', @@hostname, @@port, @@server_id) AS server";

pub(crate) struct Connection {
    raw: MySqlConnection,
    /// Its number at the server.
    number: u64,
    /// Which of those that answer to the name.
    server: String,
    /// Most bytes that the server takes at once; it hangs up on whoever sends more.
    most: u64,
    broken: bool,
    target: Arc<Target>,
}

impl Connection {
    fn ended<T>(&mut self, result: Result<T, DriverError>) -> Result<T, Error> {
        result.map_err(|error| {
            self.broken |= ends_connection(&error);
            self.target.translate(error)
        })
    }

    /// Ends what runs on it.
    async fn terminate(self) {
        let ended = async {
            let mut other = self.target.options.connect().await?;
            let row = other.fetch_one(ABOUT).await?;
            if row.try_get_unchecked::<String, _>("server")? != self.server {
                // There the number is somebody else's.
                return other.close().await;
            }
            other.execute(AssertSqlSafe(format!("KILL {}", self.number))).await?;
            other.close().await
        };
        match timeout(UNDO, ended).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(target: "mainstay_sql", %error, "an abandoned statement could not be ended");
            }
            Err(_) => tracing::debug!(target: "mainstay_sql", "an abandoned statement was not ended in time"),
        }
    }
}

impl Target {
    pub(super) fn translate(&self, error: DriverError) -> Error {
        translate(error, &self.name, self.backstop)
    }

    /// MariaDB counts seconds and bounds every statement; MySQL counts milliseconds and bounds those that read.
    fn limit(&self, version: &str) -> String {
        if version.contains("MariaDB") {
            format!("SET SESSION max_statement_time = {}", self.backstop.as_secs().min(31_536_000))
        } else {
            let millis = u32::try_from(self.backstop.as_millis()).unwrap_or(u32::MAX);
            format!("SET SESSION max_execution_time = {millis}")
        }
    }
}

impl pool::Connection for Connection {
    type Target = Target;
    type Raw = MySqlConnection;

    const DIALECT: Dialect = Dialect::Mysql;
    const BEGIN: &'static str = "BEGIN";
    const PING: &'static str = "SELECT 1 AS one";
    const FIND_HISTORY: &'static str = "SELECT table_name AS name FROM information_schema.tables \
        WHERE table_schema = database() AND table_name = '_sqlx_migrations'";

    async fn open(target: &Arc<Target>) -> Result<Self, Error> {
        let open = async {
            let mut raw = target.options.connect().await?;
            let row = raw.fetch_one(ABOUT).await?;
            let (number, most) = (row.try_get_unchecked("number")?, row.try_get_unchecked("most")?);
            let version = row.try_get_unchecked::<String, _>("version")?;
            let server = row.try_get_unchecked("server")?;
            raw.execute(AssertSqlSafe(format!("{SESSION}{}", target.limit(&version)))).await?;
            Ok(Self { raw, number, server, most, broken: false, target: Arc::clone(target) })
        };
        open.await.map_err(|error| target.translate(error))
    }

    async fn execute(&mut self, statement: &Statement) -> Result<u64, Error> {
        let result = match codec::bind(statement, self.most) {
            Ok(query) => self.raw.execute(query).await,
            Err(error) => Err(error),
        };
        self.ended(result).map(|done| done.rows_affected())
    }

    async fn fetch_all(&mut self, statement: &Statement) -> Result<Vec<Row>, Error> {
        let result = match codec::bind(statement, self.most) {
            Ok(query) => self.raw.fetch_all(query).await.and_then(|rows| codec::rows(&rows)),
            Err(error) => Err(error),
        };
        self.ended(result)
    }

    async fn fetch_optional(&mut self, statement: &Statement) -> Result<Option<Row>, Error> {
        let result = match codec::bind(statement, self.most) {
            Ok(query) => self.raw.fetch_optional(query).await.and_then(|row| codec::rows(row.as_slice())),
            Err(error) => Err(error),
        };
        Ok(self.ended(result)?.pop())
    }

    async fn control(&mut self, sql: &'static str) -> Result<(), Error> {
        let result = self.raw.execute(sql).await;
        self.ended(result).map(|_| ())
    }

    fn is_broken(&self) -> bool {
        self.broken
    }

    fn abandon(mut self, left: Left) -> Abandoned<Self> {
        Abandoned::Later(match left {
            Left::Running => Box::pin(async move {
                self.terminate().await;
                None
            }),
            Left::InTransaction => Box::pin(async move {
                let undone = matches!(timeout(UNDO, self.control("ROLLBACK")).await, Ok(Ok(())));
                undone.then_some(self)
            }),
        })
    }

    async fn settle(&mut self, kept: Duration) -> bool {
        kept < FRESH || self.raw.ping().await.is_ok()
    }

    async fn close(self) {
        if let Err(error) = self.raw.close().await {
            tracing::debug!(target: "mainstay_sql", %error, "closing a connection failed");
        }
    }

    fn raw(&mut self) -> &mut MySqlConnection {
        &mut self.raw
    }

    fn translate(error: DriverError, target: &Target) -> Error {
        target.translate(error)
    }

    async fn migrate(pool: &Arc<Pool<Self>>, migrations: &[Migration]) -> Result<Applied, Error> {
        migrate::run(pool, migrations).await
    }
}
