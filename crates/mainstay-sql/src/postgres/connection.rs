//! One connection and the rule that keeps it clean.
//!
//! Whoever gives up a statement does not wait for it. If one runs, a second connection tells the server to end it
//! (`pg_terminate_backend`, while the first is still held, so that its process id is nobody else's), and both are
//! closed; if only a transaction is open, it is rolled back and the connection goes back to the pool. Should the
//! server not answer, the connection is closed after a moment: the server ends a statement by itself after the
//! backstop, and a transaction when it sees the connection closed.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection as _, Error as DriverError, Executor, Row as _};
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

pub(crate) struct Connection {
    raw: PgConnection,
    /// The process that serves it.
    process: i32,
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
            let end = sqlx::query("SELECT pg_terminate_backend($1)").bind(self.process);
            other.execute(end).await?;
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
}

impl pool::Connection for Connection {
    type Target = Target;
    type Raw = PgConnection;

    const DIALECT: Dialect = Dialect::Postgres;
    const BEGIN: &'static str = "BEGIN";
    const PING: &'static str = "SELECT 1 AS one";
    const FIND_HISTORY: &'static str = "SELECT table_name FROM information_schema.tables \
        WHERE table_schema = current_schema() AND table_name = '_sqlx_migrations'";

    async fn open(target: &Arc<Target>) -> Result<Self, Error> {
        let open = async {
            let mut raw = target.options.connect().await?;
            let backstop = i32::try_from(target.backstop.as_millis()).unwrap_or(i32::MAX);
            let settings = sqlx::query(
                "SELECT pg_backend_pid() AS process, set_config('statement_timeout', $1, false), \
                 set_config('client_min_messages', 'warning', false), \
                 set_config('default_transaction_isolation', 'read committed', false)",
            );
            let row = raw.fetch_one(settings.bind(backstop.to_string())).await?;
            let process = row.try_get("process")?;
            Ok(Self { raw, process, broken: false, target: Arc::clone(target) })
        };
        open.await.map_err(|error| target.translate(error))
    }

    async fn execute(&mut self, statement: &Statement) -> Result<u64, Error> {
        let result = match codec::bind(statement, &self.target.texts) {
            Ok(query) => self.raw.execute(query).await,
            Err(error) => Err(error),
        };
        self.ended(result).map(|done| done.rows_affected())
    }

    async fn fetch_all(&mut self, statement: &Statement) -> Result<Vec<Row>, Error> {
        let result = match codec::bind(statement, &self.target.texts) {
            Ok(query) => self.raw.fetch_all(query).await.and_then(|rows| codec::rows(&rows)),
            Err(error) => Err(error),
        };
        self.ended(result)
    }

    async fn fetch_optional(&mut self, statement: &Statement) -> Result<Option<Row>, Error> {
        let result = match codec::bind(statement, &self.target.texts) {
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

    fn raw(&mut self) -> &mut PgConnection {
        &mut self.raw
    }

    fn translate(error: DriverError, target: &Target) -> Error {
        target.translate(error)
    }

    async fn migrate(pool: &Arc<Pool<Self>>, migrations: &[Migration]) -> Result<Applied, Error> {
        migrate::run(pool, migrations).await
    }
}
