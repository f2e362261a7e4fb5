//! Invalidations that could not be made, and are made up for.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use rand::seq::SliceRandom;

use crate::backoff::Backoff;
use crate::key::Key;
use crate::metrics::{Metrics, Unit};
use crate::store::{Reply, StoreError};
use crate::task::TaskGroup;

use super::{Claim, Entry, Found, Lookup, Outcome, Settled, Store, Target, Token};

/// Changes that are remembered, at most. Beyond it they are lost, and what they should have taken away lives for its
/// time.
const MOST: usize = 100_000;
/// Pauses between attempts to reach the store: a short one after a blip, and never a long one.
const PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for one answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// After so many failures in a row all of the store is away, and not only the server that has some of the names.
const AWAY: usize = 100;

const OWED: &str = "cache_invalidations_owed";

/// A store whose failed changes are owed: until they are made up for, what they are about is not read from it.
///
/// While a store is away its values grow old, and a change that does not reach it leaves the old value for everybody
/// who reads when it is back. So a `put` or an `invalidate` that failed is remembered as an invalidation and sent
/// again until the store takes it, and meanwhile this process's readers miss. The caller hears of the failure all
/// the same: other processes read the old value until the debt is paid.
///
/// A debt dies with the process. It takes about 100 bytes and the name, for at most 100,000 names.
pub(super) struct Owing {
    store: Arc<dyn Store>,
    debts: Arc<Debts>,
    payments: TaskGroup,
}

#[derive(Default)]
struct Debts {
    /// How many there are: none costs a reader one look.
    count: AtomicUsize,
    owed: Mutex<Owed>,
}

/// The task that pays; its runtime may drop it at any time.
struct Payer(Arc<Debts>);

impl Drop for Payer {
    fn drop(&mut self) {
        self.0.owed().paid_by_task = false;
    }
}

/// By name.
#[derive(Default)]
struct Owed {
    keys: Names,
    tags: Names,
    /// Whether there is a task that pays.
    paid_by_task: bool,
}

type Names = HashMap<Arc<str>, Debt, RandomState>;

#[derive(Debug, Clone, Copy, Default)]
struct Debt {
    /// How often it was incurred: a debt that grows while it is being paid is not paid.
    times: u64,
    /// The newest that is to be remembered.
    version: Option<u64>,
}

impl Owing {
    pub(super) fn new(store: Arc<dyn Store>, metrics: &Metrics) -> Self {
        let debts = Arc::new(Debts::default());
        metrics.describe_gauge(OWED, Unit::None, "Invalidations that wait for their store.");
        let watched = Arc::downgrade(&debts);
        let count = move || watched.upgrade().map_or(0, |debts| debts.count.load(Ordering::Relaxed));
        let gauge = metrics.gauge(OWED).with(&[]);
        metrics.collect(move |_| gauge.set(count() as f64));
        Self { store, debts, payments: TaskGroup::new() }
    }

    /// Sends a change. If it fails, or the caller does not wait for its end, its targets are owed.
    async fn change<T>(
        &self,
        targets: impl Iterator<Item = Target<'_>> + Clone,
        change: Reply<'_, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut unpaid = Unpaid { owing: self, targets: Some(targets) };
        let answer = change.await;
        if !matches!(answer, Err(StoreError::Unavailable { .. } | StoreError::Unknown { .. })) {
            unpaid.targets = None;
        }
        answer
    }
}

impl Owing {
    fn incur(&self, target: Target<'_>) {
        // Without a runtime the process is ending, and its debts with it.
        if !self.debts.incur(target) {
            return;
        }
        let payer = Payer(Arc::clone(&self.debts));
        if tokio::runtime::Handle::try_current().is_ok() {
            self.payments
                .spawn_until_cancelled("cache invalidations owed", payer.pay(Arc::clone(&self.store)));
        }
    }
}

/// Incurs debts when it is dropped.
struct Unpaid<'a, 'k, I: Iterator<Item = Target<'k>>> {
    owing: &'a Owing,
    targets: Option<I>,
}

impl<'k, I: Iterator<Item = Target<'k>>> Drop for Unpaid<'_, 'k, I> {
    fn drop(&mut self) {
        self.targets.take().into_iter().flatten().for_each(|target| self.owing.incur(target));
    }
}

impl Debts {
    fn owed(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether a task is wanted that pays.
    fn incur(&self, target: Target<'_>) -> bool {
        let mut owed = self.owed();
        let full = owed.len() >= MOST;
        let version = match target {
            Target::Version { version, .. } => Some(version),
            Target::Key(_) | Target::Tag(_) => None,
        };
        let (names, name) = owed.of(target);
        match names.get_mut(name) {
            Some(debt) => *debt = Debt { times: debt.times + 1, version: debt.version.max(version) },
            None if full => tracing::error!("a cache invalidation is given up: too many are owed"),
            None => drop(names.insert(name.into(), Debt { times: 1, version })),
        }
        self.count.store(owed.len(), Ordering::Release);
        !std::mem::replace(&mut owed.paid_by_task, true)
    }

    /// Whether what the store says of this key may be what should be gone. A tag may be on any value.
    #[inline]
    fn concern(&self, key: Key<'_>) -> bool {
        self.count.load(Ordering::Acquire) != 0 && self.concern_known(key)
    }

    #[cold]
    fn concern_known(&self, key: Key<'_>) -> bool {
        let owed = self.owed();
        !owed.tags.is_empty() || owed.keys.contains_key(key.name())
    }

    /// Whether nothing is owed any more; the next debt then wants another task.
    fn is_free(&self) -> bool {
        let mut owed = self.owed();
        owed.paid_by_task = owed.len() > 0;
        !owed.paid_by_task
    }

    fn paid(&self, target: Target<'_>, times: u64) {
        let mut owed = self.owed();
        let (names, name) = owed.of(target);
        if names.get(name).is_some_and(|debt| debt.times == times) {
            names.remove(name);
        }
        self.count.store(owed.len(), Ordering::Release);
    }

    /// Sends each debt once, in any order: what one server does not take must not keep others from theirs.
    async fn pay(&self, store: &dyn Store) -> Result<(), StoreError> {
        let (tags, keys) = {
            let owed = self.owed();
            (shuffled(&owed.tags), shuffled(&owed.keys))
        };
        let tags = tags.iter().map(|(tag, debt)| (Target::Tag(checked(tag)), *debt));
        let keys = keys.iter().map(|(key, debt)| (Target::Key(checked(key)), *debt));
        let (mut failed, mut in_a_row) = (Ok(()), 0);
        for (target, debt) in tags.chain(keys) {
            match send(store, target, debt.version).await {
                // What is refused now is refused for ever.
                Ok(_) | Err(StoreError::Rejected { .. }) => {
                    self.paid(target, debt.times);
                    in_a_row = 0;
                }
                Err(error) => {
                    failed = Err(error);
                    in_a_row += 1;
                }
            }
            if in_a_row == AWAY {
                break;
            }
        }
        failed
    }
}

/// The version first: nothing older is stored after the value is gone. It says nothing of values without one.
async fn send(store: &dyn Store, target: Target<'_>, version: Option<u64>) -> Result<bool, StoreError> {
    if let (Target::Key(key), Some(version)) = (target, version) {
        store.invalidate(Target::Version { key, version }).within(DEADLINE).await?;
    }
    store.invalidate(target).within(DEADLINE).await
}

fn shuffled(names: &Names) -> Vec<(Arc<str>, Debt)> {
    let mut names: Vec<_> = names.iter().map(|(name, debt)| (Arc::clone(name), *debt)).collect();
    names.shuffle(&mut rand::rng());
    names
}

impl Owed {
    fn len(&self) -> usize {
        self.keys.len() + self.tags.len()
    }

    fn of<'k>(&mut self, target: Target<'k>) -> (&mut Names, &'k str) {
        match target {
            Target::Key(key) | Target::Version { key, .. } => (&mut self.keys, key.name()),
            Target::Tag(tag) => (&mut self.tags, tag.name()),
        }
    }
}

fn checked(name: &str) -> Key<'_> {
    Key::new(name).expect("it was one when it was owed")
}

impl Payer {
    async fn pay(self, store: Arc<dyn Store>) {
        let backoff = Backoff::new(PAUSE, MAX_PAUSE);
        let mut failures = 0;
        while !self.0.is_free() {
            match self.0.pay(&*store).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    tracing::debug!(%error, "cache invalidations are owed");
                    tokio::time::sleep(backoff.delay(failures)).await;
                    failures += 1;
                }
            }
        }
    }
}

fn owed() -> StoreError {
    StoreError::unavailable("an invalidation of this key is owed to the store")
}

impl Store for Owing {
    #[inline]
    fn get<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Option<Found>, StoreError>> {
        if self.debts.concern(key) { Reply::ready(Ok(None)) } else { self.store.get(key) }
    }

    fn get_many<'a>(&'a self, keys: &'a [Key<'a>]) -> Reply<'a, Result<Vec<Option<Found>>, StoreError>> {
        if !keys.iter().any(|key| self.debts.concern(*key)) {
            return self.store.get_many(keys);
        }
        Reply::pending(async {
            let mut found = self.store.get_many(keys).await?;
            let concerned = keys.iter().zip(&mut found).filter(|(key, _)| self.debts.concern(**key));
            concerned.for_each(|(_, found)| *found = None);
            Ok(found)
        })
    }

    /// Of a key that is owed, the caller loads for itself: what the store knows may be old, and what would be filled
    /// now the debt would take away.
    #[inline]
    fn lookup<'a>(&'a self, key: Key<'a>, claim: Claim<'a>) -> Reply<'a, Result<Lookup, StoreError>> {
        if self.debts.concern(key) { Reply::ready(Err(owed())) } else { self.store.lookup(key, claim) }
    }

    fn put<'a>(&'a self, entries: &'a [(Key<'a>, Entry)]) -> Reply<'a, Result<(), StoreError>> {
        let targets = entries.iter().map(|(key, _)| Target::Key(*key));
        self.store.put(entries).wrapped(|put| self.change(targets, put))
    }

    fn put_if_newer<'a>(
        &'a self,
        key: Key<'a>,
        entry: Entry,
        version: u64,
    ) -> Reply<'a, Result<bool, StoreError>> {
        let put = self.store.put_if_newer(key, entry, version);
        put.wrapped(|put| self.change(std::iter::once(Target::Key(key)), put))
    }

    /// A load that began before the key was owed is not stored.
    fn settle<'a>(
        &'a self,
        key: Key<'a>,
        token: Token,
        outcome: Outcome,
    ) -> Reply<'a, Result<Settled, StoreError>> {
        if !self.debts.concern(key) {
            return self.store.settle(key, token, outcome);
        }
        let given_back = self.store.settle(key, token, Outcome::GiveBack);
        Reply::pending(async { given_back.await.map(|_| Settled::Refused) })
    }

    fn invalidate<'a>(&'a self, target: Target<'a>) -> Reply<'a, Result<bool, StoreError>> {
        self.store.invalidate(target).wrapped(|change| self.change(std::iter::once(target), change))
    }

    fn changed(&self, key: Key<'_>) -> Reply<'static, ()> {
        self.store.changed(key)
    }
}

impl fmt::Debug for Owing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owing").field("store", &self.store).finish_non_exhaustive()
    }
}
