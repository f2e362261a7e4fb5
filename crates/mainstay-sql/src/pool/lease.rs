//! A connection while somebody has it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::connection::{Abandoned, Connection, Left};
use super::{Kept, Pool};
use crate::backend::Statement;
use crate::{Error, Row};

/// A borrowed connection; dropping it gives the connection back clean.
pub(crate) struct Lease<C: Connection> {
    /// Present from acquisition to drop.
    pub(super) connection: Option<Kept<C>>,
    /// A statement was started and has not ended.
    running: bool,
    in_transaction: bool,
    discarded: bool,
    pub(super) pool: Arc<Pool<C>>,
    /// Dropped last, when the connection is back.
    permit: Option<Lent<C>>,
}

/// The right to one connection, and the pool's note of it.
pub(super) struct Lent<C: Connection> {
    pub(super) pool: Arc<Pool<C>>,
    pub(super) number: u64,
    pub(super) _permit: OwnedSemaphorePermit,
}

impl<C: Connection> Drop for Lent<C> {
    fn drop(&mut self) {
        self.pool.state().lent.retain(|(number, _)| *number != self.number);
    }
}

impl<C: Connection> Lease<C> {
    pub(super) fn new(permit: Lent<C>) -> Self {
        let pool = Arc::clone(&permit.pool);
        Self {
            connection: None,
            running: false,
            in_transaction: false,
            discarded: false,
            pool,
            permit: Some(permit),
        }
    }

    /// Whether the connection may be lent. A caller that gives up meanwhile leaves an answer on its way, which must not
    /// be taken for that of the next statement.
    pub(super) async fn settle(&mut self, kept: Duration) -> bool {
        let settled = self.start().settle(kept).await;
        self.running = false;
        settled
    }

    pub(crate) async fn execute(&mut self, statement: &Statement) -> Result<u64, Error> {
        let result = self.start().execute(statement).await;
        self.finish(result)
    }

    pub(crate) async fn fetch_all(&mut self, statement: &Statement) -> Result<Vec<Row>, Error> {
        let result = self.start().fetch_all(statement).await;
        self.finish(result)
    }

    pub(crate) async fn fetch_optional(&mut self, statement: &Statement) -> Result<Option<Row>, Error> {
        let result = self.start().fetch_optional(statement).await;
        self.finish(result)
    }

    /// Begins a transaction or ends it.
    pub(crate) async fn control(&mut self, sql: &'static str, in_transaction: bool) -> Result<(), Error> {
        let result = self.start().control(sql).await;
        if result.is_ok() {
            self.in_transaction = in_transaction;
        }
        self.finish(result)
    }

    /// Lets the driver work on its connection; undone as a statement is if it is dropped half-way.
    pub(crate) async fn driver<T>(&mut self, work: impl AsyncFnOnce(&mut C::Raw) -> T) -> T {
        let done = work(self.start().raw()).await;
        self.running = false;
        done
    }

    pub(crate) fn target(&self) -> &C::Target {
        &self.pool.target
    }

    /// From now on the connection is closed rather than given back, whatever it does then.
    #[cfg_attr(not(any(feature = "postgres", feature = "mysql")), expect(dead_code, reason = "for servers"))]
    pub(crate) fn discard(&mut self) {
        self.discarded = true;
    }

    fn connection(&mut self) -> &mut C {
        &mut self.connection.as_mut().expect("a lease holds its connection until it is dropped").connection
    }

    fn start(&mut self) -> &mut C {
        self.running = true;
        self.connection()
    }

    fn finish<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.running = false;
        result
    }
}

impl<C: Connection> Drop for Lease<C> {
    fn drop(&mut self) {
        let (Some(kept), Some(permit)) = (self.connection.take(), self.permit.take()) else { return };
        if kept.connection.is_broken() {
            return self.pool.forget_idle();
        }
        let left = match (self.running, self.in_transaction) {
            (true, _) => Left::Running,
            (false, true) => Left::InTransaction,
            (false, false) if self.discarded => return,
            (false, false) => return self.pool.put_back(kept),
        };
        let Kept { connection, counted, .. } = kept;
        match connection.abandon(left) {
            Abandoned::Kept(connection) => self.pool.put_back(Kept::new(connection, counted)),
            Abandoned::Later(undo) => {
                // Without a runtime the connection is closed, which the store notices in its own time.
                let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
                // It ends by itself soon, and whoever closes the pool waits for its permit.
                runtime.spawn(async move {
                    if let Some(connection) = undo.await {
                        permit.pool.put_back(Kept::new(connection, counted));
                    }
                    drop(permit);
                });
            }
        }
    }
}
