//! Locks in this process.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::store::{
    Acquired, Changed, Claim, FLOOR_AHEAD, Holder, LockState, Release, Renewed, SHOWN_HOLDERS, SHOWN_KEYS,
    Store,
};
use super::{Fence, OwnLine, Token};
use crate::key::Key;
use crate::store::{Reply, StoreError};
use crate::time::{Clock, Moment, micros};

/// Threads that use different keys rarely meet.
const SHARDS: usize = 32;

/// Cancelled attempts that one key remembers; beyond it the oldest is forgotten before its time.
const MAX_TOMBSTONES: usize = 64;

/// How many keys a store has room for, where nobody says otherwise.
pub(super) const MAX_KEYS: usize = 100_000;

/// A shard smaller than this is not searched for what has expired.
const SWEEP_FROM: usize = 32;

/// The [`Store`] of one process. What it holds vanishes with it; its fences still grow over restarts, by the
/// calendar's time.
///
/// State: about 150 bytes and the name for each key that is held, waited for or remembers a cancelled attempt (at
/// most 64 each), 48 bytes for each further holder of a semaphore. What expired unreleased is swept when a shard
/// has doubled, so there are at most twice as many keys as were ever in use together, and 1,024 more. A new key
/// beyond the bound is [rejected](StoreError::Rejected): nobody's lock is taken away to make room.
pub struct Memory {
    clock: Clock,
    /// The calendar's time at the clock's beginning, in microseconds: read once, so that later steps of the
    /// calendar do not reach the fences.
    calendar: u64,
    last: OwnLine<AtomicU64>,
    hasher: RandomState,
    owner: Box<str>,
    /// Most keys of one shard.
    room: usize,
    shards: [OwnLine<Mutex<Shard>>; SHARDS],
}

#[derive(Default)]
struct Shard {
    slots: HashMap<Box<str>, Slot, RandomState>,
    /// Size at which the next sweep is due.
    sweep_at: usize,
}

/// One key.
#[derive(Default)]
struct Slot {
    holders: SmallVec<[Hold; 1]>,
    tombstones: Vec<(Token, Moment)>,
    /// Rung once, when a holder is released; those who wait share it.
    bell: Option<Arc<Notify>>,
}

struct Hold {
    attempt: Token,
    fence: u64,
    permits: u32,
    since: Moment,
    until: Moment,
}

/// How much a [`Memory`] holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// Keys with any state.
    pub keys: usize,
    /// Holders whose ttl is not over.
    pub holders: usize,
    /// Live subscriptions to changes.
    pub waiters: usize,
}

impl Memory {
    /// An empty store with room for 100,000 keys.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self::bounded(MAX_KEYS, clock)
    }

    /// An empty store with room for about `max_keys` keys: they are spread over 32 parts, each with its share.
    #[must_use]
    pub fn bounded(max_keys: usize, clock: Clock) -> Self {
        let wall = u64::try_from(clock.wall().as_microsecond()).unwrap_or(0);
        Self {
            calendar: wall.saturating_sub(clock.now().as_micros()),
            clock,
            last: OwnLine::default(),
            hasher: RandomState::default(),
            owner: Box::default(),
            room: max_keys.div_ceil(SHARDS).max(1),
            shards: std::array::from_fn(|_| OwnLine::default()),
        }
    }

    /// Says who this process is to whoever asks for the [holders](Store::holders).
    #[must_use]
    pub fn owned_by(mut self, owner: &str) -> Self {
        self.owner = owner.into();
        self
    }

    /// Counts, for tests and for whoever wonders; looks at every key.
    #[must_use]
    pub fn usage(&self) -> MemoryUsage {
        let now = self.clock.now();
        let mut usage = MemoryUsage::default();
        for shard in &self.shards {
            let shard = lock(&shard.0);
            usage.keys += shard.slots.len();
            for slot in shard.slots.values() {
                usage.holders += slot.holders.iter().filter(|holder| holder.until > now).count();
                usage.waiters += slot.waiting();
            }
        }
        usage
    }

    fn shard(&self, key: Key<'_>) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key.name());
        // The upper bits: the map within uses the lower ones.
        lock(&self.shards[(hash >> 59) as usize % SHARDS].0)
    }

    /// The next fence; called under the key's lock, so that grants of a key are in its order.
    fn next_fence(&self, now: Moment, floor: Fence) -> u64 {
        let wall = self.calendar.saturating_add(now.as_micros());
        let floor = floor.get().min(wall.saturating_add(micros(FLOOR_AHEAD)));
        let least = wall.max(floor.saturating_add(1));
        let next = |last: u64| least.max(last.saturating_add(1));
        let update = self.last.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(update.unwrap_or_default())
    }

    fn acquire_now(&self, key: Key<'_>, claim: &Claim) -> Result<Acquired, StoreError> {
        let now = self.clock.now();
        let until = now + claim.ttl;
        let mut shard = self.shard(key);
        shard.sweep(now);
        let Some(slot) = shard.slots.get_mut(key.name()) else {
            if !shard.has_room(self.room, now) {
                return Err(StoreError::rejected("no room for another lock: too many are held"));
            }
            let fence = self.next_fence(now, claim.floor);
            let mut slot = Slot::default();
            slot.holders.push(Hold::new(claim, fence, now));
            shard.slots.insert(key.name().into(), slot);
            return Ok(Acquired::Granted { fence: Fence::from(fence) });
        };
        slot.forget(now);
        if let Some(holder) = slot.holders.iter_mut().find(|holder| holder.attempt == claim.attempt) {
            holder.until = until;
            return Ok(Acquired::Granted { fence: Fence::from(holder.fence) });
        }
        if slot.tombstones.iter().any(|(attempt, _)| *attempt == claim.attempt) {
            return Ok(Acquired::Cancelled);
        }
        if let Some((until, fence)) = slot.refuses(claim.permits) {
            return Ok(Acquired::Held { retry_in: until.saturating_since(now), fence: Fence::from(fence) });
        }
        let fence = self.next_fence(now, claim.floor);
        slot.holders.push(Hold::new(claim, fence, now));
        Ok(Acquired::Granted { fence: Fence::from(fence) })
    }

    fn renew_now(&self, key: Key<'_>, attempt: Token, fence: Fence, ttl: Duration) -> Renewed {
        let now = self.clock.now();
        let mut shard = self.shard(key);
        let holders = shard.slots.get_mut(key.name()).map(|slot| slot.holders.iter_mut());
        let own = |holder: &&mut Hold| {
            holder.until > now && holder.attempt == attempt && holder.fence == fence.get()
        };
        match holders.into_iter().flatten().find(own) {
            Some(holder) => {
                holder.until = now + ttl;
                Renewed::Renewed
            }
            None => Renewed::Lost,
        }
    }

    fn release_now(&self, key: Key<'_>, attempt: Token, tombstone: Duration) -> Release {
        let now = self.clock.now();
        let mut shard = self.shard(key);
        if !tombstone.is_zero() {
            shard.slots.entry(key.name().into()).or_default().bury(attempt, now + tombstone);
        }
        let Some(slot) = shard.slots.get_mut(key.name()) else { return Release::NotHeld };
        let own = slot.holders.iter().position(|holder| holder.attempt == attempt);
        let Some(own) = own else { return Release::NotHeld };
        let holder = slot.holders.remove(own);
        let bell = slot.bell.take();
        if slot.is_idle() {
            shard.slots.remove(key.name());
        }
        drop(shard);
        if let Some(bell) = bell {
            bell.notify_waiters();
        }
        if holder.until > now { Release::Released } else { Release::NotHeld }
    }
}

impl Store for Memory {
    fn acquire<'a>(&'a self, key: Key<'a>, claim: Claim) -> Reply<'a, Result<Acquired, StoreError>> {
        Reply::ready(self.acquire_now(key, &claim))
    }

    fn renew<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        fence: Fence,
        ttl: Duration,
    ) -> Reply<'a, Result<Renewed, StoreError>> {
        Reply::ready(Ok(self.renew_now(key, attempt, fence, ttl)))
    }

    fn release<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        tombstone: Duration,
    ) -> Reply<'a, Result<Release, StoreError>> {
        Reply::ready(Ok(self.release_now(key, attempt, tombstone)))
    }

    fn changed<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Changed, StoreError>> {
        let mut shard = self.shard(key);
        let slot = shard.slots.entry(key.name().into()).or_default();
        let rung = Arc::clone(slot.bell.get_or_insert_default()).notified_owned();
        Reply::ready(Ok(Box::pin(rung)))
    }

    fn holders<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Vec<Holder>, StoreError>> {
        let now = self.clock.now();
        let holders = self.shard(key).slots.get(key.name()).map(|slot| slot.shown(&self.owner, now));
        Reply::ready(Ok(holders.unwrap_or_default()))
    }

    fn list(&self, limit: usize) -> Reply<'_, Result<Vec<LockState>, StoreError>> {
        let limit = limit.min(SHOWN_KEYS);
        let mut locks = Vec::new();
        for shard in &self.shards {
            let (shard, now) = (lock(&shard.0), self.clock.now());
            let states = shard.slots.iter().filter_map(|(key, slot)| {
                let (holders, waiting) = (slot.shown(&self.owner, now), slot.waiting());
                (!holders.is_empty()).then(|| LockState { key: key.clone(), holders, waiting })
            });
            locks.extend(states.take(limit - locks.len()));
        }
        Reply::ready(Ok(locks))
    }
}

impl Shard {
    /// Takes out what expired without a release, once for every doubling: a constant cost for each key that came.
    fn sweep(&mut self, now: Moment) {
        if self.slots.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.sweep_now(now);
        }
    }

    fn sweep_now(&mut self, now: Moment) {
        self.slots.retain(|_, slot| {
            slot.forget(now);
            !slot.is_idle()
        });
        self.sweep_at = self.slots.len() * 2;
    }

    /// Whether one more key fits, if need be where one has expired.
    fn has_room(&mut self, room: usize, now: Moment) -> bool {
        if self.slots.len() >= room {
            self.sweep_now(now);
        }
        self.slots.len() < room
    }
}

impl Slot {
    fn forget(&mut self, now: Moment) {
        self.holders.retain(|holder| holder.until > now);
        self.tombstones.retain(|(_, until)| *until > now);
    }

    fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.tombstones.is_empty() && self.waiting() == 0
    }

    /// Number of live subscriptions.
    fn waiting(&self) -> usize {
        self.bell.as_ref().map_or(0, |bell| Arc::strong_count(bell) - 1)
    }

    fn shown(&self, owner: &str, now: Moment) -> Vec<Holder> {
        let held = self.holders.iter().filter(|holder| holder.until > now);
        // Granted one after the other: the lowest fences come first.
        held.take(SHOWN_HOLDERS).map(|holder| holder.shown(owner, now)).collect()
    }

    /// When the first holder ends and the latest fence, if there are as many holders as one of them or the newcomer
    /// admits.
    fn refuses(&self, permits: u32) -> Option<(Moment, u64)> {
        let least = self.holders.iter().map(|holder| holder.permits).chain([permits]).min()?;
        let first = self.holders.iter().map(|holder| holder.until).min()?;
        let latest = self.holders.iter().map(|holder| holder.fence).max()?;
        (self.holders.len() >= least as usize).then_some((first, latest))
    }

    fn bury(&mut self, attempt: Token, until: Moment) {
        self.tombstones.retain(|(buried, _)| *buried != attempt);
        if self.tombstones.len() == MAX_TOMBSTONES {
            self.tombstones.remove(0);
        }
        self.tombstones.push((attempt, until));
    }
}

impl Hold {
    fn new(claim: &Claim, fence: u64, now: Moment) -> Self {
        let Claim { attempt, permits, ttl, .. } = *claim;
        Self { attempt, fence, permits, since: now, until: now + ttl }
    }

    fn shown(&self, owner: &str, now: Moment) -> Holder {
        Holder {
            id: self.attempt.short_id(),
            fence: Fence::from(self.fence),
            permits: self.permits,
            since: now.saturating_since(self.since),
            ends_in: self.until.saturating_since(now),
            owner: owner.into(),
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

/// Nothing panics under the lock; if something did, what is there is still whole.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
