//! The store in this process.

mod leases;
mod space;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache as Map;

use crate::key::Key;
use crate::store::{Reply, StoreError};
use crate::time::{Clock, Moment};

use super::{Claim, Entry, Found, Lookup, Options, Outcome, Settled, Store, Tag, Target, Token};
use leases::{Lease, Leases};
use space::{Displaced, Evictions, Record, Space};

/// Values in this process, within a bound.
///
/// An entry counts with its key, the names of its tags and 64 bytes for each, twice its encoded bytes (the decoded
/// value is kept beside them) and 256 bytes.
/// Beyond [`Options::max_bytes`] the least asked-for entries are evicted, by the Clock-PRO policy of
/// `quick_cache`. Expired entries leave when they are looked at, or are evicted like others. A lease takes
/// its key and some 150 bytes while the key is loaded.
///
/// Answers are ready at once. A hit takes one lookup under a shared lock and reads the clock once.
pub struct Memory {
    clock: Clock,
    space: Space,
    evictions: Evictions,
    /// Epochs by tag. To invalidate a tag is to forget it: no epoch is given twice.
    tags: Map<String, u64>,
    next_epoch: AtomicU64,
    /// Versions by key.
    versions: Map<String, u64>,
    /// Held over every change, so that a value and its lease change together. Readers do not take it.
    leases: Mutex<Leases>,
}

/// What a [`Memory`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Entries, expired ones included that nobody has looked at since.
    pub entries: usize,
    /// Their size as it is counted; see [`Memory`].
    pub bytes: u64,
    /// Entries evicted so far.
    pub evictions: u64,
    /// Keys being loaded.
    pub leases: usize,
}

impl Memory {
    /// An empty store within the bounds of `options`.
    #[must_use]
    pub fn new(options: &Options, clock: Clock) -> Self {
        let evictions = Evictions::default();
        Self {
            clock,
            space: space::space(options.max_bytes, options.max_value_bytes, evictions.clone()),
            evictions,
            tags: Map::new(options.max_tags),
            next_epoch: AtomicU64::new(1),
            versions: Map::new(options.max_versions),
            leases: Mutex::default(),
        }
    }

    /// What it holds now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            entries: self.space.len(),
            bytes: self.space.weight(),
            evictions: self.evictions.count(),
            leases: self.leases().held(self.clock.now()),
        }
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be served, fresh or stale.
    #[inline]
    fn find(&self, key: Key<'_>, now: Moment) -> Option<Found> {
        let record = self.space.get(key.name())?;
        if record.usable_until > now && self.bears_valid(record.tags.as_deref()) {
            return Some(Found {
                fresh_for: record.fresh_until.saturating_since(now),
                usable_for: record.usable_until.saturating_since(now),
                value: record.value,
            });
        }
        self.remove_seen(key, &record);
        None
    }

    #[inline]
    fn find_fresh(&self, key: Key<'_>) -> Option<Found> {
        self.find(key, self.clock.now()).filter(|found| !found.fresh_for.is_zero())
    }

    /// Removes this very record; another may have taken its place.
    #[cold]
    fn remove_seen(&self, key: Key<'_>, seen: &Record) {
        self.space.remove_if(key.name(), |record| Arc::ptr_eq(&record.value, &seen.value));
    }

    #[inline]
    fn bears_valid(&self, tags: Option<&[Tag]>) -> bool {
        let valid = |tag: &Tag| tag.epoch.is_some() && self.tags.get(&*tag.name) == tag.epoch;
        tags.is_none_or(|tags| tags.iter().all(valid))
    }

    fn epoch(&self, tag: &str) -> u64 {
        let next = || Ok::<_, std::convert::Infallible>(self.next_epoch.fetch_add(1, Ordering::Relaxed));
        let Ok(epoch) = self.tags.get_or_insert_with(tag, next);
        epoch
    }

    /// Under the lock of the leases, without which what it returns must be dropped.
    fn insert(&self, key: Key<'_>, entry: &Entry, now: Moment) -> Displaced {
        let with_epoch = |tag: &Tag| Tag {
            name: Arc::clone(&tag.name),
            epoch: tag.epoch.or_else(|| Some(self.epoch(&tag.name))),
        };
        let fresh_until = now + entry.fresh_for;
        let record = Record {
            value: Arc::clone(&entry.value),
            fresh_until,
            usable_until: fresh_until + entry.stale_for,
            tags: (!entry.tags.is_empty()).then(|| entry.tags.iter().map(with_epoch).collect()),
        };
        let mut displaced: Displaced = self.space.peek(key.name()).into_iter().collect();
        self.space.insert_with_lifecycle(key.name().into(), record, &mut displaced);
        displaced
    }

    #[inline]
    fn lookup_now(&self, key: Key<'_>, claim: &Claim<'_>) -> Lookup {
        let now = self.clock.now();
        let fresh = |found: &Option<Found>| found.as_ref().is_some_and(|it| it.fresh_for > claim.min_fresh);
        let found = self.find(key, now);
        if fresh(&found) {
            return Lookup::Hit(found.expect("it is fresh"));
        }
        let with_epoch = |name: &Arc<str>| Tag { name: Arc::clone(name), epoch: Some(self.epoch(name)) };
        let tags = claim.tags.iter().map(with_epoch);
        let mut leases = self.leases();
        let stale = self.find(key, now); // again: it may have been filled before the lock was taken
        if fresh(&stale) {
            return Lookup::Hit(stale.expect("it is fresh"));
        }
        match leases.get(key).filter(|lease| self.is_held(lease, now)) {
            Some(lease) if lease.holder != Some(claim.token) => {
                let retry_in = lease.until.saturating_since(now);
                Lookup::Busy { stale, holder: lease.holder, retry_in }
            }
            Some(lease) => Lookup::Lease { stale, tags: lease.tags.clone() },
            None => {
                let tags: Vec<_> = tags.collect();
                leases.give(key, claim.token, now + claim.lease, tags.clone(), now);
                Lookup::Lease { stale, tags }
            }
        }
    }

    /// A lease is held until it runs out or one of its tags is invalidated.
    fn is_held(&self, lease: &Lease, now: Moment) -> bool {
        lease.until > now && self.bears_valid(Some(&lease.tags))
    }

    fn put_now(&self, key: Key<'_>, entry: &Entry) {
        self.put_under(self.leases(), key, entry);
    }

    fn put_if_newer_now(&self, key: Key<'_>, entry: &Entry, version: u64) -> bool {
        let leases = self.leases();
        let newer = self.is_newer(key, version);
        if newer {
            self.put_under(leases, key, entry);
        }
        newer
    }

    fn put_under(&self, mut leases: MutexGuard<'_, Leases>, key: Key<'_>, entry: &Entry) {
        let displaced = self.insert(key, entry, self.clock.now());
        let wake = leases.end(key);
        drop(leases);
        drop(displaced);
        wake.all();
    }

    fn settle_now(&self, key: Key<'_>, token: Token, outcome: &Outcome) -> Settled {
        let mut leases = self.leases();
        let now = self.clock.now();
        let Some(lease) = leases.get(key).filter(|lease| lease.holder == Some(token)) else {
            return Settled::Refused;
        };
        let held = self.is_held(lease, now);
        let mut displaced = Displaced::default();
        let wake = match outcome {
            Outcome::Keep(time) if held => leases.keep(key, now + *time),
            Outcome::Fill(entry) if held => {
                displaced = self.insert(key, entry, now);
                leases.end(key)
            }
            Outcome::Fill(_) | Outcome::Keep(_) | Outcome::GiveBack => leases.end(key),
        };
        drop(leases);
        drop(displaced);
        wake.all();
        if held { Settled::Done } else { Settled::Refused }
    }

    /// Remembers a version if it is newer than what is known. Under the lock of the leases.
    fn is_newer(&self, key: Key<'_>, version: u64) -> bool {
        let newer = self.versions.get(key.name()).is_none_or(|known| known < version);
        if newer {
            self.versions.insert(key.name().into(), version);
        }
        newer
    }

    fn invalidate_now(&self, key: Key<'_>) -> bool {
        self.invalidate_under(self.leases(), key)
    }

    fn invalidate_version_now(&self, key: Key<'_>, version: u64) -> bool {
        let leases = self.leases();
        let newer = self.is_newer(key, version);
        if newer {
            self.invalidate_under(leases, key);
        }
        newer
    }

    fn invalidate_under(&self, mut leases: MutexGuard<'_, Leases>, key: Key<'_>) -> bool {
        let removed = self.space.remove(key.name());
        let now = self.clock.now();
        let was_there = removed.as_ref().is_some_and(|(_, record)| {
            record.fresh_until > now && self.bears_valid(record.tags.as_deref()) && !record.value.is_absent()
        });
        let wake = leases.end(key);
        drop(leases);
        wake.all();
        was_there
    }
}

impl Store for Memory {
    #[inline]
    fn get<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Option<Found>, StoreError>> {
        Reply::ready(Ok(self.find_fresh(key)))
    }

    fn get_many<'a>(&'a self, keys: &'a [Key<'a>]) -> Reply<'a, Result<Vec<Option<Found>>, StoreError>> {
        Reply::ready(Ok(keys.iter().map(|key| self.find_fresh(*key)).collect()))
    }

    #[inline]
    fn lookup<'a>(&'a self, key: Key<'a>, claim: Claim<'a>) -> Reply<'a, Result<Lookup, StoreError>> {
        Reply::ready(Ok(self.lookup_now(key, &claim)))
    }

    fn put<'a>(&'a self, entries: &'a [(Key<'a>, Entry)]) -> Reply<'a, Result<(), StoreError>> {
        entries.iter().for_each(|(key, entry)| self.put_now(*key, entry));
        Reply::ready(Ok(()))
    }

    fn put_if_newer<'a>(
        &'a self,
        key: Key<'a>,
        entry: Entry,
        version: u64,
    ) -> Reply<'a, Result<bool, StoreError>> {
        Reply::ready(Ok(self.put_if_newer_now(key, &entry, version)))
    }

    fn settle<'a>(
        &'a self,
        key: Key<'a>,
        token: Token,
        outcome: Outcome,
    ) -> Reply<'a, Result<Settled, StoreError>> {
        Reply::ready(Ok(self.settle_now(key, token, &outcome)))
    }

    fn invalidate<'a>(&'a self, target: Target<'a>) -> Reply<'a, Result<bool, StoreError>> {
        Reply::ready(Ok(match target {
            Target::Key(key) => self.invalidate_now(key),
            Target::Tag(tag) => {
                self.tags.remove(tag.name());
                false
            }
            Target::Version { key, version } => self.invalidate_version_now(key, version),
        }))
    }

    fn changed(&self, key: Key<'_>) -> Reply<'static, ()> {
        match self.leases().waiters(key) {
            Some(wake) => Reply::pending(wake.notified_owned()),
            None => Reply::ready(()),
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("usage", &self.usage()).finish_non_exhaustive()
    }
}
