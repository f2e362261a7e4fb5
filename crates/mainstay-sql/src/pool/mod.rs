//! A pool of connections whose waits are bounded, whose queue is visible, and whose connections come
//! back clean whatever happened to their last user.

mod connection;
mod lease;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_core::deadline::Deadline;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout_at};

pub(crate) use connection::{Abandoned, Connection, Left};
pub(crate) use lease::Lease;
use lease::Lent;

use crate::{Error, Options, PoolStats};

#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max: usize,
    pub(crate) min: usize,
    pub(crate) acquire: Duration,
    pub(crate) idle: Duration,
}

impl From<&Options> for Limits {
    fn from(options: &Options) -> Self {
        Self {
            max: options.pool_max,
            min: options.pool_min,
            acquire: options.acquire_timeout,
            idle: options.idle_timeout,
        }
    }
}

pub(crate) struct Pool<C: Connection> {
    name: &'static str,
    pub(crate) target: Arc<C::Target>,
    limits: Limits,
    permits: Arc<Semaphore>,
    state: Mutex<State<C>>,
    size: Arc<AtomicUsize>,
    waiting: AtomicUsize,
}

struct State<C> {
    /// Last in, first out: what is not needed grows old at the bottom and is closed.
    idle: Vec<Kept<C>>,
    /// Who has a connection, since when, in order.
    lent: Vec<(u64, Instant)>,
    last: u64,
}

/// A connection the pool owns.
struct Kept<C> {
    connection: C,
    idle_since: Instant,
    counted: Counted,
}

impl<C> Kept<C> {
    fn new(connection: C, counted: Counted) -> Self {
        Self { connection, idle_since: Instant::now(), counted }
    }
}

impl<C: Connection> Pool<C> {
    pub(crate) fn new(name: &'static str, target: Arc<C::Target>, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            name,
            target,
            permits: Arc::new(Semaphore::new(limits.max)),
            limits,
            state: Mutex::new(State { idle: Vec::new(), lent: Vec::new(), last: 0 }),
            size: Arc::default(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Opens connections until the minimum is reached.
    pub(crate) async fn open_minimum(self: &Arc<Self>) -> Result<(), Error> {
        let mut held = Vec::new();
        for _ in 0..self.limits.min.min(self.limits.max) {
            held.push(self.acquire().await?);
        }
        Ok(())
    }

    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<Lease<C>, Error> {
        let own = self.limits.acquire;
        let time = match Deadline::current().map(|deadline| deadline.remaining()) {
            Some(Duration::ZERO) => return Err(Error::Timeout { after: Duration::ZERO }),
            Some(remaining) => remaining.min(own),
            None => own,
        };
        let deadline = Instant::now() + time;
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(self.closed()),
            Err(TryAcquireError::NoPermits) => {
                let _waiting = Waiting::new(&self.waiting);
                match timeout_at(deadline, self.permits.clone().acquire_owned()).await {
                    Ok(permit) => permit.map_err(|_: AcquireError| self.closed())?,
                    Err(_) => return Err(self.exhausted(time)),
                }
            }
        };
        timeout_at(deadline, self.connection(permit)).await.unwrap_or_else(|_| Err(self.unanswered(time)))
    }

    async fn connection(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Result<Lease<C>, Error> {
        let mut lease = Lease::new(self.lend(permit));
        loop {
            let idle = self.state().idle.pop();
            let Some(kept) = idle else { break };
            let idle_for = kept.idle_since.elapsed();
            lease.connection = Some(kept);
            if lease.settle(idle_for).await {
                return Ok(lease);
            }
            lease.connection = None;
        }
        self.open(&mut lease).await?;
        Ok(lease)
    }

    async fn open(&self, lease: &mut Lease<C>) -> Result<(), Error> {
        let counted = Counted::new(&self.size);
        lease.connection = Some(Kept::new(C::open(&self.target).await?, counted));
        Ok(())
    }

    fn lend(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Lent<C> {
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.lent.push((number, Instant::now()));
        Lent { pool: Arc::clone(self), number, _permit: permit }
    }

    fn put_back(&self, mut kept: Kept<C>) {
        kept.idle_since = Instant::now();
        let mut state = self.state();
        if !self.permits.is_closed() {
            state.idle.push(kept);
        }
        drop(state);
        self.expire();
    }

    /// Closes what nobody has needed for long. Dropping a connection ends it; nobody waits for that here.
    fn expire(&self) {
        let now = Instant::now();
        let mut state = self.state();
        let expired = state.idle.iter().take_while(|kept| now - kept.idle_since > self.limits.idle).count();
        let spare = self.size.load(Ordering::Relaxed).saturating_sub(self.limits.min);
        state.idle.drain(..expired.min(spare));
    }

    /// Opens what is missing to the minimum, as far as nobody needs the room. Tried again later if that fails.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    async fn replenish(self: &Arc<Self>) {
        while self.size.load(Ordering::Relaxed) < self.limits.min.min(self.limits.max) {
            let Ok(permit) = self.permits.clone().try_acquire_owned() else { return };
            let mut lease = Lease::new(self.lend(permit));
            if !matches!(tokio::time::timeout(self.limits.acquire, self.open(&mut lease)).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Closes idle connections, which a server counts, and opens those that are always kept, also while nobody uses
    /// the pool. Ends with the pool.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) fn tend(self: &Arc<Self>, tasks: &mainstay_core::task::TaskGroup) {
        let pause = self.limits.idle.clamp(Duration::from_millis(100), Duration::from_secs(60)) / 2;
        let pool = Arc::downgrade(self);
        tasks.spawn_until_cancelled("pool of connections", async move {
            while let Some(pool) = pool.upgrade() {
                pool.expire();
                pool.replenish().await;
                drop(pool);
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// One connection was found broken, so the idle ones have probably met the same end.
    fn forget_idle(&self) {
        let idle = std::mem::take(&mut self.state().idle);
        drop(idle);
    }

    pub(crate) async fn close(&self) {
        let all = u32::try_from(self.limits.max).unwrap_or(u32::MAX);
        let deadline = Instant::now() + self.limits.acquire;
        if timeout_at(deadline, self.permits.acquire_many(all)).await.is_err() {
            tracing::warn!(target: "mainstay_sql", pool = self.name, "closed while connections were in use");
        }
        self.permits.close();
        let idle = std::mem::take(&mut self.state().idle);
        for kept in idle {
            kept.connection.close().await;
        }
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let idle = self.state().idle.len();
        PoolStats {
            name: self.name,
            max: self.limits.max,
            min: self.limits.min,
            acquire_timeout: self.limits.acquire,
            idle_timeout: self.limits.idle,
            size: self.size.load(Ordering::Relaxed),
            idle,
            in_use: self.limits.max.saturating_sub(self.permits.available_permits()),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> Error {
        Error::unavailable(format!("the {} pool of {} is closed", self.name, self.target))
    }

    fn exhausted(&self, time: Duration) -> Error {
        let stats = self.stats();
        let longest = self.state().lent.first().map_or(Duration::ZERO, |(_, since)| since.elapsed());
        Error::unavailable(format!(
            "no {} connection became free within {time:?}: {} of {} in use, the longest for {:.1} s, {} callers \
             waiting; keep transactions short or raise DB_POOL_MAX",
            self.name,
            stats.in_use,
            stats.max,
            longest.as_secs_f64(),
            stats.waiting
        ))
    }

    fn unanswered(&self, time: Duration) -> Error {
        Error::unavailable(format!("{} did not answer within {time:?}", self.target))
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

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
