//! Locks and counting semaphores that name what they lock.
//!
//! # Promise
//! - **L1** The fence of a grant is higher than that of every earlier grant of the store, also after a restart, as
//!   long as the calendar does not lie further back than what was issued. A resource that refuses lower fences never
//!   takes the word of an earlier holder after that of a later one.
//! - **L2** While clocks run evenly, at most one guard of a key (of a semaphore: as many as its permits) passes
//!   [`Guard::check`] at any moment.
//! - **L3** `check() == Ok` means that less than the ttl has passed since the last acquire or renewal the store
//!   confirmed was *sent*, by a clock that counts suspend.
//! - **L4** A holder that falls silent holds for its ttl and no longer.
//! - **L5** An attempt has one fence, however often it had to ask.
//! - **L6** A cancelled attempt does not hold, also if a copy of its question arrives late.
//! - **L7** Who waits is woken by a release, at the latest by the holder's ttl; those of one process in the order they
//!   came. Nobody polls.
//! - **L8** Dropping a guard or an `acquire` neither blocks nor panics, also outside a runtime, and leaves nothing
//!   behind: no holder, no place in line, no task.
//! - **L9** A runtime whose workers are all blocked, or which has ended, stops no renewal and delays no loss: the
//!   keeper has a thread of its own.
//!
//! # Not promised
//! - Mutual exclusion without fences: a process can stop between `check` and what it does next.
//! - Order between processes, or between those who [`retry`](Request::retry).
//! - Reentrancy: who locks the same key twice waits for itself.
//! - That an [`Unknown`](Error::Unknown) outcome is undone at once: at the latest it ends with its ttl.
//!
//! # If the store is down
//! [`Degrade::Refuse`](crate::store::Degrade::Refuse): a new lock fails at once with [`Error::Unavailable`]. What
//! is held stays held until its ttl is over, then it is lost; renewing and releasing are tried until then.
//!
//! # Defaults
//! Ttl 30 s, renewed every third of it for up to 1 h; 10 s in line; 500 ms for the store to answer: see [`Options`].
//! At most 10,000 permits. Where callers disagree about a semaphore's permits the smaller number wins: nobody holds
//! beside more others than it allowed; so a [`lock`](Locks::lock) and a semaphore on the same key exclude each other.
//!
//! # Metrics
//! `lock_acquisitions_total{result}` (`acquired`, `contended`, `unavailable`, `unknown`),
//! `lock_wait_duration_seconds`, `lock_hold_duration_seconds`, `lock_held`, `lock_waiters`, `lock_lost_total`,
//! `lock_renewals_total{result}` (`renewed`, `lost`, `failed`). Guards only are held, lost and renewed; leases are
//! acquired. See also [`election`].
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use mainstay_core::lock::{Error, Locks, Options, Release};
//! use mainstay_core::{metrics::Metrics, time::Clock};
//! use std::time::Duration;
//!
//! let locks = Locks::in_memory(Options::default(), &Metrics::new(), Clock::system());
//! let guard = locks.lock("report:2026-01").ttl(Duration::from_secs(30)).acquire().await?;
//! let refused = locks.lock("report:2026-01").try_acquire().await;
//! assert!(matches!(refused, Err(Error::Contended { .. })));
//!
//! let rows = guard.run(async { 7 }).await.expect("held all the time");
//! // UPDATE report SET rows = :rows, fence = :fence WHERE fence <= :fence
//! println!("{rows} rows under fence {}", guard.fence());
//! assert_eq!(guard.release().await?, Release::Released);
//! # Ok::<(), Error>(()) }).unwrap();
//! ```

mod acquire;
mod attempt;
mod config;
pub mod election;
mod error;
mod fence;
mod guard;
mod hold;
mod keeper;
mod memory;
mod metrics;
mod queue;
mod request;
mod several;
mod store;
mod terms;
mod thread;
mod token;
mod view;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use config::Options;
pub use error::{Error, Lost};
pub use fence::Fence;
pub use guard::{Guard, Lease};
pub use memory::{Memory, MemoryUsage};
pub use request::Request;
pub use several::{Guards, RequestAll};
pub use store::{
    Acquired, Changed, Claim, FLOOR_AHEAD, Holder, LockState, Release, Renewed, SHOWN_HOLDERS, SHOWN_KEYS,
    Store,
};
pub use token::{InvalidToken, Token};
pub use view::{HeldHere, WaitingHere};

use crate::key::Key;
use crate::metrics::Metrics;
use crate::task::{Overrun, TaskGroup};
use crate::time::Clock;
use keeper::{Keeper, Running};
use metrics::Meters;
use queue::Queues;
use terms::Terms;

/// Locks things by name. Clones share the store and the lines of those who wait.
///
/// What is held is watched on one thread, begun when the first lock is asked for (or by a task, see
/// [`Options::keeper_thread`], which goes on in the runtime of the next who asks should its own end). It ends with
/// [`stop`](Self::stop), or by itself when the last clone and the last guard are gone; nobody waits for it there. A
/// process that just exits leaves to the ttl what a far store had not heard of yet: `stop` first.
#[derive(Debug, Clone)]
pub struct Locks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    keeper: Arc<Keeper>,
    queues: Queues,
    closing: CancellationToken,
    tasks: TaskGroup,
}

/// A cache line (two, as they are fetched in pairs) of its own: what one thread writes does not slow down another
/// that reads or writes what lies beside it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct OwnLine<T>(T);

/// How much a [`Locks`] has in hand now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Holds that are renewed: guards that are alive and not lost.
    pub held: usize,
    /// Calls of `acquire` and its kin in progress.
    pub attempts: usize,
    /// Tasks that stand in line.
    pub waiters: usize,
    /// Keys that they wait for.
    pub lines: usize,
    /// Releases that the store has not answered yet.
    pub releases: usize,
}

impl Locks {
    /// Locks whose state is in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, options: Options, metrics: &Metrics, clock: Clock) -> Self {
        let keeper = Keeper::new(store, clock, options.op_timeout, Meters::new(metrics));
        let tasks = TaskGroup::new();
        Self {
            inner: Arc::new(Inner {
                options,
                keeper: Arc::new(keeper),
                queues: Queues::default(),
                closing: tasks.token(),
                tasks,
            }),
        }
    }

    /// Locks among the tasks of this process.
    #[must_use]
    pub fn in_memory(options: Options, metrics: &Metrics, clock: Clock) -> Self {
        Self::new(Arc::new(Memory::bounded(options.max_keys, clock.clone())), options, metrics, clock)
    }

    /// A lock on `key`: 1 to [`MAX_NAME`](crate::key::MAX_NAME) bytes of anything.
    pub fn lock(&self, key: impl Into<String>) -> Request {
        self.semaphore(key, 1)
    }

    /// A lock on each of these keys, at most 64. They are acquired in the order of their names and only once each,
    /// so that two who lock some of the same never wait for each other.
    pub fn lock_all<I>(&self, keys: I) -> RequestAll
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Request::new(Arc::clone(&self.inner), keys.into_iter().map(Into::into).collect(), Terms::new(1))
    }

    /// One of `permits` (1 to 10,000) that can be held on `key` at once.
    pub fn semaphore(&self, key: impl Into<String>, permits: u32) -> Request {
        Request::new(Arc::clone(&self.inner), key.into(), Terms::new(permits))
    }

    /// A campaign to be the one process that leads under `name`: a key, so that a [`lock`](Self::lock) on it excludes
    /// leaders, too. Nothing happens before [`start`](election::Campaign::start).
    pub fn elect(&self, name: impl Into<String>) -> election::Campaign {
        election::Campaign::new(&self.inner, name.into())
    }

    /// Releases what is held under a token, such as a [`Lease`].
    ///
    /// # Errors
    /// [`Error::Key`]; [`Error::Unavailable`] and [`Error::Unknown`]: try again, or let the ttl end it.
    pub async fn release(&self, key: &str, token: &Token) -> Result<Release, Error> {
        let keeper = &self.inner.keeper;
        let reply = keeper.store.release(Key::new(key)?, *token, Duration::ZERO);
        Ok(reply.within(keeper.op_timeout).await?)
    }

    /// What is in hand now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let (held, attempts, releases) = self.inner.keeper.usage();
        let (lines, waiters) = self.inner.queues.usage();
        Usage { held, attempts, waiters, lines, releases }
    }

    /// Grants nothing more, turns away those who wait, and releases what guards still hold: their `lost` fires.
    /// Leases stay. Dropping this future leaves the rest to the background; it may be called again.
    ///
    /// # Errors
    /// [`Overrun`] if not every release was answered within `deadline`; those locks end with their ttl.
    pub async fn stop(&self, deadline: Duration) -> Result<(), Overrun> {
        self.inner.keeper.close();
        self.inner.tasks.stop(deadline).await
    }
}

impl Inner {
    /// Sees to it that there is a keeper.
    fn start(&self) {
        let Some(keeping) = self.keeping() else { return };
        if !self.options.keeper_thread {
            drop(tokio::spawn(keeping));
        } else if let Err(error) = thread::run(keeping) {
            tracing::error!(%error, "no thread for the lock keeper: a blocked runtime can lose its locks");
            drop(self.keeping().map(tokio::spawn));
        }
    }

    /// The keeper's work, if nobody does it.
    fn keeping(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let running = Running::begin(&self.keeper)?;
        let closing = self.closing.clone();
        Some(self.tasks.track("lock keeper", async move { running.keeper().run(closing).await }))
    }
}
