//! Keeps what is held: renews it, says when it is lost, and releases what could not be released at once.
//!
//! One task for all locks of a handle, as a rule on a thread of its own. Everything else talks to it through its
//! schedule, and never waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::hold::Hold;
use super::metrics::Meters;
use super::store::{Renewed, Store};
use super::{Lost, OwnLine, Token};
use crate::backoff::Backoff;
use crate::key::Key;
use crate::store::StoreError;
use crate::time::{Clock, Moment};

/// tokio's timers stop while the machine sleeps. Looking at the clock this often while something is held bounds how
/// late a loss is told after that.
const LOOK: Duration = Duration::from_secs(1);

const SCHEDULES: usize = 16;

#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) op_timeout: Duration,
    pub(super) meters: Meters,
    /// By address, so that threads that lock different keys rarely meet.
    schedules: [OwnLine<Mutex<Schedule>>; SCHEDULES],
    partings: Mutex<Partings>,
    /// Microseconds of the [`Moment`] when the task looks next without being called; until it has looked first, the
    /// beginning of time.
    wakes: AtomicU64,
    /// Attempts that are not yet held or given up; the keeper outlives them.
    attempts: OwnLine<AtomicUsize>,
    /// Whether there is a task.
    running: AtomicBool,
    closed: AtomicBool,
    bell: Notify,
}

/// By the moment they are due, then by address.
#[derive(Debug, Default)]
struct Schedule(BTreeMap<(Moment, usize), Arc<Hold>>);

#[derive(Debug, Default)]
struct Partings {
    inbox: Vec<Parting>,
    /// Releases that are being tried again.
    working: usize,
    ended: bool,
}

/// A release that has no answer yet.
#[derive(Debug)]
struct Parting {
    key: String,
    attempt: Token,
    tombstone: Duration,
    /// By now it has expired.
    until: Moment,
}

/// What the task has to do now, and when next.
#[derive(Default)]
struct Due {
    renew: Vec<Arc<Hold>>,
    lost: Vec<Arc<Hold>>,
    release: Vec<Parting>,
    next: Option<Duration>,
}

/// The only task of a keeper, or what is to become it. Its runtime may drop it at any time.
pub(super) struct Running(Arc<Keeper>);

impl Running {
    /// `None` if the task is there, or is needed no more.
    #[inline]
    pub(super) fn begin(keeper: &Arc<Keeper>) -> Option<Self> {
        let needless = keeper.running.load(Ordering::Acquire) || keeper.is_closed();
        let first = !needless && !keeper.running.swap(true, Ordering::AcqRel);
        first.then(|| Self(Arc::clone(keeper)))
    }

    pub(super) fn keeper(&self) -> &Keeper {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What it was repeating is given up, and the next task has to look first.
        self.0.partings().working = 0;
        self.0.wakes.store(0, Ordering::SeqCst);
        self.0.running.store(false, Ordering::Release);
    }
}

impl Keeper {
    pub(super) fn new(store: Arc<dyn Store>, clock: Clock, op_timeout: Duration, meters: Meters) -> Self {
        Self {
            store,
            clock,
            op_timeout,
            meters,
            schedules: std::array::from_fn(|_| OwnLine::default()),
            partings: Mutex::default(),
            wakes: AtomicU64::new(0),
            attempts: OwnLine::default(),
            running: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            bell: Notify::new(),
        }
    }

    /// Number of holds that are renewed, of attempts in progress and of releases without an answer.
    pub(super) fn usage(&self) -> (usize, usize, usize) {
        let partings = self.partings();
        let releases = partings.inbox.len() + partings.working;
        let held = self.schedules.iter().map(|schedule| lock(&schedule.0).0.len()).sum();
        (held, self.attempts.0.load(Ordering::Acquire), releases)
    }

    /// What is renewed, in no order.
    pub(super) fn holds(&self) -> Vec<Arc<Hold>> {
        let holds =
            |schedule: &OwnLine<Mutex<Schedule>>| lock(&schedule.0).0.values().cloned().collect::<Vec<_>>();
        self.schedules.iter().flat_map(holds).collect()
    }

    pub(super) fn attempt_begins(&self) {
        self.attempts.0.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn attempt_ended(&self) {
        if self.attempts.0.fetch_sub(1, Ordering::AcqRel) == 1 && self.is_closed() {
            self.bell.notify_one();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Begins to keep; refused once [`close`](Self::close) was called.
    pub(super) fn add(&self, hold: &Arc<Hold>) -> bool {
        let mut schedule = self.schedule(hold);
        // Under the mutex: what is inserted before `close` comes by is found by it.
        if self.is_closed() {
            return false;
        }
        let due = schedule.insert(hold, hold.next_due(hold.since));
        drop(schedule);
        if due.as_micros() < self.wakes.load(Ordering::SeqCst) {
            self.wakes.fetch_min(due.as_micros(), Ordering::SeqCst);
            self.bell.notify_one();
        }
        self.meters.held.add(1.0);
        true
    }

    /// Ends the keeping. The store is not told.
    pub(super) fn forget(&self, hold: &Arc<Hold>) {
        if self.schedule(hold).remove(hold) {
            self.meters.held.sub(1.0);
        }
    }

    /// Whether it is held now. Reads a clock and asks nobody.
    #[inline]
    pub(super) fn check(&self, hold: &Arc<Hold>) -> Result<(), Lost> {
        if hold.is_valid(self.clock.now()) {
            return Ok(());
        }
        self.lose(hold);
        Err(Lost)
    }

    /// The lock no longer protects.
    #[cold]
    pub(super) fn lose(&self, hold: &Arc<Hold>) {
        self.forget(hold);
        if hold.lose() {
            self.meters.lost.increment(1);
            tracing::warn!(key = hold.name(), fence = hold.fence.get(), "lock lost");
        }
    }

    /// Takes no more holds, ends those there are and releases them.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for schedule in &self.schedules {
            let holds = std::mem::take(&mut lock(&schedule.0).0);
            self.meters.held.sub(holds.len() as f64);
            for hold in holds.into_values() {
                hold.lose();
                self.release(hold.name(), hold.token, hold.tombstone, hold.ttl);
            }
        }
    }

    /// Releases without waiting: at once if the store is near, else in the background, until it has expired. May be
    /// called outside a runtime.
    pub(super) fn release(&self, key: &str, attempt: Token, tombstone: Duration, ttl: Duration) {
        let Ok(checked) = Key::new(key) else { return };
        if let Ok(Ok(_)) = self.store.release(checked, attempt, tombstone).now() {
            return;
        }
        let until = self.clock.now() + ttl;
        let mut partings = self.partings();
        if !partings.ended {
            partings.inbox.push(Parting { key: key.to_owned(), attempt, tombstone, until });
            drop(partings);
            self.bell.notify_one();
        }
    }

    /// The task. Ends when `closing` is cancelled and all it knows of is released or has had its last chance.
    pub(super) async fn run(&self, closing: CancellationToken) {
        let mut work: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut called = false;
        loop {
            let due = self.due(called);
            work.extend(due.renew.into_iter().map(|hold| self.renew(hold).boxed()));
            work.extend(due.release.into_iter().map(|parting| self.part(parting, &closing).boxed()));
            due.lost.iter().for_each(|hold| self.lose(hold));
            let closed = closing.is_cancelled();
            if closed && work.is_empty() && self.may_end() {
                return;
            }
            let pause = async {
                match due.next {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            called = false;
            tokio::select! {
                Some(()) = work.next() => {}
                () = self.bell.notified() => called = true,
                () = pause => {}
                () = closing.cancelled(), if !closed => {}
            }
        }
    }

    fn due(&self, called: bool) -> Due {
        let now = self.clock.now();
        let mut due = Due::default();
        // Whoever adds while this looks calls again.
        self.wakes.store(u64::MAX, Ordering::SeqCst);
        let mut next = None;
        for schedule in &self.schedules {
            let mut schedule = lock(&schedule.0);
            schedule.take_due(now, &mut due);
            next = next.into_iter().chain(schedule.0.first_key_value().map(|((due, _), _)| *due)).min();
        }
        self.meters.held.sub(due.lost.len() as f64);
        // Who was just called for a lock that is gone already expects the next: it looks once more by itself, so that
        // short holds in a row do not call each time.
        let next = next.or_else(|| called.then_some(now + LOOK));
        due.next = next.map(|next| next.saturating_since(now).min(LOOK));
        let wakes = due.next.map_or(Moment::NEVER, |pause| now + pause);
        self.wakes.fetch_min(wakes.as_micros(), Ordering::SeqCst);
        let mut partings = self.partings();
        due.release = std::mem::take(&mut partings.inbox);
        partings.working += due.release.len();
        due
    }

    fn may_end(&self) -> bool {
        let mut partings = self.partings();
        partings.ended = partings.inbox.is_empty() && self.attempts.0.load(Ordering::Acquire) == 0;
        partings.ended
    }

    /// Renews once, trying again until it is lost or ended.
    async fn renew(&self, hold: Arc<Hold>) {
        let pause = (hold.ttl / 20).clamp(Duration::from_millis(2), Duration::from_secs(1));
        loop {
            let sent = self.clock.now();
            if !hold.is_valid(sent) {
                return; // The schedule tells, or its guard is gone.
            }
            let reply = self.store.renew(hold.key(), hold.token, hold.fence, hold.ttl);
            match reply.within(self.op_timeout).await {
                Ok(Renewed::Renewed) => {
                    self.meters.renewed.increment(1);
                    hold.extend(sent);
                    return self.schedule(&hold).shift(&hold, hold.next_due(sent));
                }
                Ok(Renewed::Lost) => {
                    self.meters.renewals_lost.increment(1);
                    return self.lose(&hold);
                }
                Err(error) => {
                    self.meters.renewals_failed.increment(1);
                    tracing::debug!(key = hold.name(), %error, "lock not renewed; trying again");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Releases, trying again until it has expired, or for one more [`op_timeout`](Self::op_timeout) once the handle is
    /// closing.
    async fn part(&self, parting: Parting, closing: &CancellationToken) {
        let tries = async {
            let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
            for failures in 0.. {
                let key = Key::new(&parting.key).expect("checked before it was acquired");
                let reply = self.store.release(key, parting.attempt, parting.tombstone);
                let Err(error) = reply.within(self.op_timeout).await else { return };
                tracing::debug!(key = parting.key, %error, "lock not released");
                let refused = matches!(error, StoreError::Rejected { .. });
                if refused || self.clock.now() >= parting.until {
                    return;
                }
                tokio::time::sleep(backoff.delay(failures)).await;
            }
        };
        let last_chance = async {
            closing.cancelled().await;
            tokio::time::sleep(self.op_timeout).await;
        };
        tokio::select! {
            biased;
            () = tries => {}
            () = last_chance => {}
        }
        self.partings().working -= 1;
    }

    fn schedule(&self, hold: &Arc<Hold>) -> MutexGuard<'_, Schedule> {
        // An allocation begins at a multiple of 16, and is larger than 64.
        lock(&self.schedules[(Arc::as_ptr(hold).addr() >> 7) % SCHEDULES].0)
    }

    fn partings(&self) -> MutexGuard<'_, Partings> {
        lock(&self.partings)
    }
}

/// Nothing panics under these locks; if something did, what is there is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Schedule {
    fn take_due(&mut self, now: Moment, due: &mut Due) {
        while let Some(first) = self.0.first_entry().filter(|first| first.key().0 <= now) {
            let hold = first.remove();
            if hold.is_valid(now) {
                // It is looked at again when it ends, should the renewal not come back.
                self.insert(&hold, hold.valid_until());
                due.renew.push(hold);
            } else {
                due.lost.push(hold);
            }
        }
    }

    fn insert(&mut self, hold: &Arc<Hold>, due: Moment) -> Moment {
        hold.due.store(due.as_micros(), Ordering::Relaxed);
        self.0.insert((due, Arc::as_ptr(hold).addr()), Arc::clone(hold));
        due
    }

    fn remove(&mut self, hold: &Arc<Hold>) -> bool {
        let due = Moment::from_micros(hold.due.load(Ordering::Relaxed));
        self.0.remove(&(due, Arc::as_ptr(hold).addr())).is_some()
    }

    /// Moves it, if it is still there.
    fn shift(&mut self, hold: &Arc<Hold>, due: Moment) {
        if self.remove(hold) {
            self.insert(hold, due);
        }
    }
}
