//! Values kept for a time, so that their source is asked seldom: read through, with one load for all who wait.
//!
//! # Promise
//! 1. *C1.* Of one key at most one load runs under a lease at any time, however many callers, handles or (with
//!    a shared store) processes ask. The lease outlasts the load's hard timeout.
//! 2. *C2.* Once [`Cache::delete`], [`Cache::invalidate_tag`] or [`Cache::set`] has returned, nobody who
//!    asks afterwards gets a value that was loaded, or began to load, before: not from the store,
//!    and not from a load in flight.
//! 3. *C3.* A load stores its value only under the lease it began with. One that was overtaken by a delete, a
//!    set or its own timeout changes nothing; the callers who began it still get its value.
//! 4. *C4.* Nobody waits for a value longer than the policy's hard timeout (and twice the store's).
//! 5. *C6.* A value read under a key was written under that key.
//! 6. *C7.* While the store is down, at most [`Options::degraded_loads`] loads run.
//! 7. A value is never served as fresh after its time to live, nor at all after
//!    [`stale_for`](Policy::stale_for). Errors are never kept. That there is no value is kept only if a loader
//!    of [`Cache::get_or_load_optional`] says so, for at most 30 s.
//! 8. A caller that is dropped while it waits neither ends nor orphans the load. A loader that panics, fails or
//!    hangs leaves nothing behind.
//! 9. Memory is bounded; see [`Memory`].
//! 10. What an [`Invalidation`] owes is invalidated, in the background if need be, as soon as the store answers
//!     and while this process lives.
//!
//! # Not promised
//! - That a value is kept: it may be evicted at any time.
//! - That a loader which blocks its thread can be stopped, or undone: its hard timeout drops it at its next
//!   await, and what it did by then is done.
//! - That a hit is what the loader returned, field by field: it is what the codec reads from the bytes, the
//!   same on every store.
//! - Reentrancy: a loader that asks for its own key waits for itself, until its hard timeout.
//! - C2 between handles while their store is down: a load without a lease is seen by its own handle's writes only.
//! - C2 against a [`Cache::set`] that ended with [`Error::Unknown`] or was dropped: what was sent already may arrive
//!   at a shared store after a later delete, and stays for its time. Versions prevent it ([`Cache::set_if_newer`],
//!   [`Cache::delete_version`]).
//! - Transactions: [`Cache::set_many`] and [`Cache::get_many`] treat each key for itself.
//! - C1 where callers ask for one key as different types, or some optionally and some not: they
//!   take turns instead of sharing a load.
//!
//! # If the store is down
//! [`Degrade::Local`](crate::store::Degrade::Local): `get_or_load` loads in this process, once per key and type, and stores nothing; all else
//! is [`Error::Unavailable`], or [`Error::Unknown`] where a write may have happened. With [`Degrade::Refuse`](crate::store::Degrade::Refuse) as
//! [`Options::degrade`], `get_or_load` fails as well.
//!
//! A `set`, `delete` or `invalidate_tag` that failed is owed: it is repeated as an invalidation until the store takes
//! it, and meanwhile this process reads nothing of those keys from it. A `delete_version` is repeated with its version.
//! Debts end with the process.
//!
//! # Defaults
//! 64 MiB, values up to 1 MiB, JSON, 500 ms for an answer of the store: see [`Options`]. No stale values, early
//! refresh with β = 1, 30 s hard timeout and no soft one, 10 s for negative entries, ±10 % jitter: see [`Policy`].
//!
//! # Metrics
//! - `cache_requests_total{result}`: `hit`, `negative` (known not to exist), `stale`, `miss`, `unavailable`.
//! - `cache_loads_total{result}`: `ok`, `absent`, `error`, `panic`, `timeout`, `stopped`.
//! - `cache_load_duration_seconds`, `cache_loads_in_flight`.
//! - `cache_fills_refused_total`: loaded values that were overtaken or too large to store.
//! - `cache_decode_failures_total`: values written as another type; they count as misses.
//! - `cache_invalidations_owed`: what waits for the store to be back.
//! - `cache_entries`, `cache_bytes`, `cache_evictions_total`: of the store in this process.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use mainstay_core::cache::{Cache, Options, Ttl};
//! use mainstay_core::metrics::Metrics;
//! use mainstay_core::time::Clock;
//!
//! let cache = Cache::in_memory(Options::default(), &Metrics::new(), Clock::system());
//! let find = || async { Ok::<_, std::io::Error>("Ada".to_owned()) };
//! let name: String = cache.get_or_load("user:1", Ttl::hours(1), find).await?;
//! assert_eq!(name, "Ada");
//! assert_eq!(cache.get::<String>("user:1").await?, Some(name));
//!
//! assert!(cache.delete("user:1").await?);
//! assert_eq!(cache.get::<String>("user:1").await?, None);
//! # Ok::<(), mainstay_core::cache::Error>(()) }).unwrap();
//! ```

mod config;
mod early;
mod error;
mod flight;
mod invalidation;
mod leader;
mod lifetime;
mod load;
mod memory;
mod meters;
mod owing;
mod policy;
mod store;
mod value;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::codec;
use crate::key::Key;
use crate::metrics::Metrics;
use crate::store::StoreError;
use crate::task::{Overrun, TaskGroup};
use crate::time::Clock;

pub use config::Options;
pub use error::Error;
pub use invalidation::Invalidation;
pub use lifetime::Lifetime;
pub use memory::{Memory, Usage};
pub use policy::{Policy, Ttl};
pub use store::{Claim, Entry, Found, Lookup, Outcome, Settled, Store, Tag, Target, Token, VERSION_MEMORY};
pub use value::Value;

use flight::{Flights, Name};
use meters::Meters;
use owing::Owing;

/// What can be cached: any owned value that serde reads and writes. A value that is expensive to clone is
/// best kept as an `Arc<T>`.
pub trait Cached: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Cached for T {}

/// A cache. Clones share it.
#[derive(Clone)]
pub struct Cache {
    shared: Arc<Shared>,
    /// Apart from what the tasks hold, so that dropping the last handle cancels them.
    tasks: Arc<TaskGroup>,
}

/// What handles and loads share.
#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    options: Options,
    clock: Clock,
    meters: Meters,
    flights: Arc<Flights>,
    bulkhead: Semaphore,
}

impl Cache {
    /// A cache on a store that may be away at times: what could not be taken away from it then is taken away when it
    /// is back.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, options: Options, metrics: &Metrics, clock: Clock) -> Self {
        Self::on(Arc::new(Owing::new(store, metrics)), options, metrics, clock)
    }

    fn on(store: Arc<dyn Store>, options: Options, metrics: &Metrics, clock: Clock) -> Self {
        let flights = Arc::new(Flights::default());
        let shared = Shared {
            store,
            clock,
            meters: Meters::new(metrics, &flights),
            flights,
            bulkhead: Semaphore::new(options.degraded_loads.clamp(1, Semaphore::MAX_PERMITS)),
            options,
        };
        Self { shared: Arc::new(shared), tasks: Arc::new(TaskGroup::new()) }
    }

    /// A cache in this process, within the bounds of `options`.
    #[must_use]
    pub fn in_memory(options: Options, metrics: &Metrics, clock: Clock) -> Self {
        let memory = Arc::new(Memory::new(&options, clock.clone()));
        meters::collect(metrics, Arc::downgrade(&memory));
        Self::on(memory, options, metrics, clock)
    }

    /// The value of a key. `None` if there is none, if it has expired, and if its bytes are not a `T` (which is
    /// counted): another version of the program may have written them.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Unavailable`], [`Error::Rejected`].
    #[inline]
    pub async fn get<T: Cached>(&self, key: &str) -> Result<Option<T>, Error> {
        // Spelled out, so that a store in this process is asked without a future in between.
        let found = match self.shared.store.get(Key::new(key)?).now() {
            Ok(answer) => answer,
            Err(pending) => pending.within(self.shared.options.op_timeout).await,
        };
        match found {
            Ok(found) => Ok(self.shared.answer(found.as_ref())),
            Err(error) => Err(self.shared.not_read(error)),
        }
    }

    /// The values of several keys, in their order; each as [`get`](Self::get) would have it. Together they are
    /// no snapshot.
    ///
    /// # Errors
    /// As [`get`](Self::get), for all of them.
    pub async fn get_many<T: Cached>(&self, keys: &[&str]) -> Result<Vec<Option<T>>, Error> {
        let keys = keys.iter().map(|key| Key::new(key)).collect::<Result<Vec<_>, _>>()?;
        let found = self.shared.store.get_many(&keys).within(self.shared.options.op_timeout).await;
        let found = found.map_err(|error| self.shared.not_read(error))?;
        Ok(found.iter().map(|found| self.shared.answer(found.as_ref())).collect())
    }

    /// Whether [`get`](Self::get) would find a value, of whatever type. Counts as no request.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        let found = self.shared.store.get(Key::new(key)?).within(self.shared.options.op_timeout).await;
        let found = found.map_err(|error| self.shared.not_read(error))?;
        Ok(found.is_some_and(|found| !found.value.is_absent()))
    }

    /// Stores a value. A load of the same key that is under way will not replace it.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Policy`], [`Error::Codec`], [`Error::TooLarge`], [`Error::Unavailable`],
    /// [`Error::Rejected`]; [`Error::Unknown`] if it may have been stored.
    pub async fn set<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        policy: impl Into<Policy>,
    ) -> Result<(), Error> {
        let policy = policy.into();
        policy.check()?;
        self.put(&[(Key::new(key)?, self.shared.entry(value, &policy)?)]).await
    }

    /// Stores several values. Each is stored for itself: readers may see some before others.
    ///
    /// # Errors
    /// As [`set`](Self::set). What is wrong with one value is found before any is stored; after
    /// [`Error::Unknown`] each may have been stored or not.
    pub async fn set_many<T: Serialize>(
        &self,
        entries: &[(&str, T)],
        policy: impl Into<Policy>,
    ) -> Result<(), Error> {
        let policy = policy.into();
        policy.check()?;
        let mut checked = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            checked.push((Key::new(key)?, self.shared.entry(value, &policy)?));
        }
        self.put(&checked).await
    }

    /// Stores a value of a version, unless this or a newer version of it, or its
    /// [deletion](Self::delete_version), is known. `true` if it was stored.
    ///
    /// For values whose source numbers their versions (a row's counter, an event's position), and whose loads may
    /// read an old one: from a replica that lags, say. There a delete and a load are not enough, since the load that
    /// follows the delete may still see what was before. Write such a value with its version from wherever
    /// it becomes known; `set` and `get_or_load` of the same key ask for no version.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn set_if_newer<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        version: u64,
        policy: impl Into<Policy>,
    ) -> Result<bool, Error> {
        let (key, policy) = (Key::new(key)?, policy.into());
        policy.check()?;
        let entry = self.shared.entry(value, &policy)?;
        let put = self.shared.store.put_if_newer(key, entry, version);
        let stored = put.within(self.shared.options.op_timeout).await.map_err(Error::writing)?;
        self.shared.flights.detach(&Name::Degraded(key.name().into()));
        Ok(stored)
    }

    /// Takes a value away that in this version does not exist (any more), unless this or a newer version is known,
    /// and remembers the version: what is older is not [stored](Self::set_if_newer) afterwards. `true` if it was
    /// newer than what was known.
    ///
    /// It is remembered for a day where the store has room: longer than any load takes.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub async fn delete_version(&self, key: &str, version: u64) -> Result<bool, Error> {
        let key = Key::new(key)?;
        let newer = self.invalidate(Target::Version { key, version }).await?;
        self.shared.flights.detach(&Name::Degraded(key.name().into()));
        Ok(newer)
    }

    /// Takes a value away; `true` if there was one. Nothing that was loaded or began to load before is seen by
    /// a caller who comes after: call it when the change of the source is committed.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Unavailable`], [`Error::Rejected`]; [`Error::Unknown`] if it may have been
    /// taken away.
    pub async fn delete(&self, key: &str) -> Result<bool, Error> {
        let key = Key::new(key)?;
        let deleted = self.invalidate(Target::Key(key)).await;
        // Also if the store was not reached: who comes later must not join a load from before the change.
        self.shared.flights.detach(&Name::Degraded(key.name().into()));
        deleted
    }

    /// Takes all values away that bear the tag, as [`delete`](Self::delete) does with one. Costs the same for
    /// one value and for a million.
    ///
    /// # Errors
    /// [`Error::Policy`] of the field `tag`; else as [`delete`](Self::delete).
    pub async fn invalidate_tag(&self, tag: &str) -> Result<(), Error> {
        let invalidated = self.invalidate(Target::Tag(policy::check_tag(tag)?)).await;
        self.shared.flights.detach_degraded();
        invalidated.map(drop)
    }

    /// Ends the cache's tasks: loads in flight are dropped, those who wait for them and those who come later
    /// get [`Error::Stopped`]. What is in the cache can still be read and written.
    ///
    /// # Errors
    /// [`Overrun`] if a loader blocks its thread beyond `deadline`. Dropping this future loses nothing.
    pub async fn stop(&self, deadline: Duration) -> Result<(), Overrun> {
        self.tasks.stop(deadline).await
    }

    #[tracing::instrument(level = "debug", name = "cache.put", skip_all)]
    async fn put(&self, entries: &[(Key<'_>, Entry)]) -> Result<(), Error> {
        let stored = self.shared.store.put(entries).within(self.shared.options.op_timeout).await;
        for (key, _) in entries {
            self.shared.flights.detach(&Name::Degraded(key.name().into()));
        }
        stored.map_err(Error::writing)
    }

    #[tracing::instrument(level = "debug", name = "cache.invalidate", skip_all)]
    async fn invalidate(&self, target: Target<'_>) -> Result<bool, Error> {
        let answer = self.shared.store.invalidate(target).within(self.shared.options.op_timeout).await;
        answer.map_err(Error::writing)
    }
}

impl Shared {
    /// What `get` says about what was found.
    #[inline]
    fn answer<T: Cached>(&self, found: Option<&Found>) -> Option<T> {
        let Some(answer) = found.and_then(|found| self.usable(found, true)) else {
            self.meters.miss.increment(1);
            return None;
        };
        self.count_hit(&answer);
        answer
    }

    /// What a caller gets for a found value; nothing if it is no use to them.
    #[inline]
    fn usable<T: Cached>(&self, found: &Found, optional: bool) -> Option<Option<T>> {
        match found.value.decode() {
            Ok(None) if !optional => None,
            Ok(answer) => Some(answer),
            Err(error) => {
                self.undecodable(&error);
                None
            }
        }
    }

    #[inline]
    fn count_hit<T>(&self, answer: &Option<T>) {
        let counter = if answer.is_some() { &self.meters.hit } else { &self.meters.negative };
        counter.increment(1);
    }

    fn entry<T: Serialize + ?Sized>(&self, value: &T, policy: &Policy) -> Result<Entry, Error> {
        let value = Arc::new(self.encode(value, Duration::ZERO)?);
        let tag = |name: &Arc<str>| Tag { name: Arc::clone(name), epoch: None };
        let tags = policy.tags.iter().map(tag).collect();
        Ok(Entry { value, fresh_for: policy.lifetime(false), stale_for: policy.stale_for, tags })
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T, cost: Duration) -> Result<Value, Error> {
        let codec = self.options.codec;
        let bytes = codec.encode(value)?;
        let (size, max) = (bytes.len(), self.options.max_value_bytes);
        if size > max { Err(Error::TooLarge { size, max }) } else { Ok(Value::new(bytes, codec, cost)) }
    }

    #[cold]
    fn undecodable(&self, error: &codec::Error) {
        self.meters.decode_failures.increment(1);
        tracing::debug!(%error, "a cached value is not of the type asked for");
    }

    #[cold]
    fn not_read(&self, error: StoreError) -> Error {
        self.meters.unavailable.increment(1);
        Error::reading(error)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("store", &self.shared.store).finish_non_exhaustive()
    }
}
