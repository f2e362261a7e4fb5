//! One connection and the rule that keeps it clean.
//!
//! Each SQLite connection of the driver has a thread of its own that works off commands in order. A
//! future that is dropped leaves its statement running there. So an abandoned connection is *interrupted*
//! (a flag read by SQLite's progress handler) and a `ROLLBACK` is queued behind whatever still runs;
//! before the next user gets it, it is *settled*: a second `ROLLBACK` is awaited, which proves that the
//! thread is idle and no transaction is open, and the flag is cleared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection as _, Executor};
use tokio::time::Instant;

/// Virtual machine instructions between two looks at the interrupt flag, well below a millisecond.
const PROGRESS_STEPS: i32 = 1000;

pub(super) struct Connection {
    pub(super) raw: SqliteConnection,
    interrupt: Arc<AtomicBool>,
    /// Something was abandoned on it; see the module's documentation.
    unsettled: bool,
    pub(super) idle_since: Instant,
    _counted: Counted,
}

impl Connection {
    pub(super) async fn open(
        options: &SqliteConnectOptions,
        size: &Arc<AtomicUsize>,
    ) -> Result<Self, sqlx::Error> {
        let counted = Counted::new(size);
        let mut raw = options.connect().await?;
        let interrupt = Arc::new(AtomicBool::new(false));
        let flag = interrupt.clone();
        raw.lock_handle().await?.set_progress_handler(PROGRESS_STEPS, move || !flag.load(Ordering::Relaxed));
        Ok(Self { raw, interrupt, unsettled: false, idle_since: Instant::now(), _counted: counted })
    }

    /// Stops what runs and undoes what is open, without waiting for either.
    pub(super) fn abandon(&mut self) {
        self.interrupt.store(true, Ordering::Relaxed);
        // Polled once, this queues the command and forgets the answer. Should the queue be full, the
        // transaction stays open until the connection is settled.
        let _ = self.raw.execute("ROLLBACK").now_or_never();
        self.unsettled = true;
    }

    /// Answers whether the connection may be used.
    pub(super) async fn settle(&mut self) -> bool {
        if self.unsettled {
            if let Err(error) = self.raw.execute("ROLLBACK").await
                && !matches!(error, sqlx::Error::Database(_))
            {
                return false; // The worker thread is gone. "No transaction is active" is the good case.
            }
            self.interrupt.store(false, Ordering::Relaxed);
            self.unsettled = false;
        }
        true
    }

    pub(super) async fn close(self) {
        if let Err(error) = self.raw.close().await {
            tracing::debug!(target: "mainstay_sql", %error, "closing a connection failed");
        }
    }
}

/// Counts open connections, the one being opened included.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(size: &Arc<AtomicUsize>) -> Self {
        size.fetch_add(1, Ordering::Relaxed);
        Self(size.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
