//! A cache that all processes share: the store of [`mainstay_core::cache`] on Redis, with what was read kept near.
//!
//! # Promise
//! 1. All of the [contract](Store), by the server's clock: one script and one round trip for each verb. A read is a
//!    plain `GET`, and none at all while the value is near; a lookup is one too, and the script after it where that
//!    finds nothing.
//! 2. *Near and coherent.* What was read is kept in this process until the server says that it changed. A read
//!    that begins after this process had a change acknowledged sees it. Other processes see it when the server has
//!    told them, which takes about as long as an answer; if the connection that would tell them is silent, broken
//!    or frozen, nothing that was read over it is used any more after 3 s at most (*C5*).
//! 3. What this process keeps near stays within [`Options::max_bytes`](mainstay_core::cache::Options::max_bytes), as
//!    [`Memory`](mainstay_core::cache::Memory) counts it.
//! 4. *C6.* Bytes that are damaged, older or newer than this format, of another key or of another
//!    [schema](mainstay_core::cache::Options::schema) are a miss, and counted; never an error.
//! 5. A leader that dies leaves its lease to run out; the next who asks then gets it, alone.
//!
//! # Not promised
//! - That a change survives a failover: a replica that takes over may not have heard of the last ones, and brings back
//!   what they took away, until it expires. [`set_if_newer`](mainstay_core::cache::Cache::set_if_newer) has the same limit.
//! - That names whose encoded form is longer than 256 bytes are kept near: on the server they are digests,
//!   and what it says of a digest cannot be told of a name.
//! - That a tag which nobody used first or invalidated for 30 days is still known: what bears it is then gone.
//! - A put whose tag another process has just invalidated may be a miss at once: it was written with the epoch
//!   known here.
//!
//! # If the store is down
//! Each answer is [`StoreError::Unavailable`] at once; what is near is served for up to 3 s. The
//! [`Cache`](mainstay_core::cache::Cache) then loads in this process.
//!
//! # Defaults
//! Near for up to 60 s, within 64 MiB; compressed from 4 KiB on; see [`Options`].
//! A key has `ms:{<namespace>:cache:<key>}:v`, while it is loaded `…:le`, and if it has versions `…:n`; a tag has
//! `ms:{<namespace>:tag:<tag>}:e`. All expire.
//!
//! # Metrics
//! Those of the cache, and
//! - `cache_near_hits_total`, `cache_near_misses_total`: values found in this process, and asked for.
//! - `cache_near_invalidations_total`: keys of which the server said that they changed.
//! - `cache_envelope_rejected_total{reason}`: `format`, `checksum`, `key`, `schema`, `size`.
//! - `cache_entries`, `cache_bytes`, `cache_evictions_total`: of what is near.

mod envelope;
mod lease;
mod meters;
mod names;
mod near;
mod read;
mod record;
mod scripts;
mod tags;
mod waiting;
mod write;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use mainstay_core::cache::{Claim, Entry, Found, Lookup, Options, Outcome, Settled, Store, Target, Token};
use mainstay_core::key::Key;
use mainstay_core::metrics::Metrics;
use mainstay_core::store::{Reply, StoreError};
use mainstay_core::time::{Clock, Moment};

use crate::{Answer, CallError, Command, Invalidation, Lane, Redis, Witness};
use meters::Meters;
use names::{Named, Names};
use near::{Near, OVERHEAD};
use record::Record;
use scripts::Scripts;
use tags::Epoch;

/// Commands that are on their way together, at most: a batch leaves room for others.
const BATCH: usize = 1_024;

/// A hundred years. Added to the calendar, a longer time is no number that a server takes.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// See the [module](self).
pub struct RedisCache {
    shared: Arc<Shared>,
}

/// What the store and the listener to changes share.
struct Shared {
    redis: Redis,
    options: Options,
    clock: Clock,
    names: Names,
    scripts: Scripts,
    values: Near<Record>,
    tags: Near<Epoch>,
    meters: Meters,
}

impl RedisCache {
    /// The cache of all that share `namespace`, with the same options as their handles.
    #[must_use]
    pub fn new(redis: Redis, namespace: &str, options: Options, metrics: &Metrics, clock: Clock) -> Self {
        Self::with_scripts(redis, namespace, options, metrics, clock, |source| source)
    }

    /// A cache whose scripts are edited, for tests that change them.
    #[doc(hidden)]
    #[must_use]
    pub fn with_scripts(
        redis: Redis,
        namespace: &str,
        options: Options,
        metrics: &Metrics,
        clock: Clock,
        edit: impl Fn(&'static str) -> &'static str,
    ) -> Self {
        let shared = Arc::new(Shared {
            names: Names::new(namespace),
            scripts: Scripts::new(edit),
            values: Near::new(options.max_bytes, options.max_value_bytes.saturating_mul(2)),
            tags: Near::new(options.max_tags.saturating_mul(2 * OVERHEAD), OVERHEAD),
            meters: Meters::new(metrics),
            redis,
            options,
            clock,
        });
        meters::collect(metrics, Arc::downgrade(&shared));
        shared.redis.on_invalidation(Arc::new(Listener(Arc::downgrade(&shared))));
        Self { shared }
    }
}

impl Shared {
    /// Over which connection a key is read; with a witness if the answer can be kept.
    fn way(&self, written: &str, now: Moment) -> (Lane, Option<Witness>) {
        let keeps = !self.options.near_ttl.is_zero() && self.names.is_spelled_out(written);
        let witness = keeps.then(|| self.redis.witness(written)).flatten();
        match witness.filter(|witness| witness.holds(now)) {
            Some(witness) => (Lane::Tracked, Some(witness)),
            None => (Lane::Main, None),
        }
    }

    /// When a verb that begins now has its answer. Whatever it sends after its first command shares this.
    fn deadline(&self) -> Instant {
        Instant::now() + self.redis.patience()
    }

    /// Sends commands together, some at a time.
    async fn call_all(&self, commands: Vec<Command>) -> Vec<Result<Answer, CallError>> {
        let mut answers = Vec::with_capacity(commands.len());
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            answers.extend(self.redis.call_all(commands.by_ref().take(BATCH).collect()).await);
        }
        answers
    }
}

/// Forgets what the server says has changed.
struct Listener(Weak<Shared>);

impl Invalidation for Listener {
    fn invalidated(&self, keys: Option<&[Bytes]>) {
        let Some(shared) = self.0.upgrade() else { return };
        let Some(keys) = keys else {
            shared.values.forget_all();
            return shared.tags.forget_all();
        };
        for key in keys {
            match shared.names.named(key) {
                Some(Named::Value(name)) => shared.values.forget(&name),
                Some(Named::Tag(name)) => shared.tags.forget(&name),
                None => continue,
            }
            shared.meters.invalidations.increment(1);
        }
    }
}

/// Waits for what follows the first command of a verb.
async fn in_time<T>(
    until: Instant,
    rest: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout_at(until, rest).await.unwrap_or_else(|_| Err(StoreError::unknown("no answer in time")))
}

impl Store for RedisCache {
    #[inline]
    fn get<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Option<Found>, StoreError>> {
        let shared = &*self.shared;
        if let Some(found) = shared.near(key, shared.clock.now()) {
            shared.meters.near_hits.increment(1);
            return Reply::ready(Ok(Some(found)));
        }
        shared.meters.near_misses.increment(1);
        Reply::bounded(shared.redis.patience(), shared.get(key))
    }

    fn get_many<'a>(&'a self, keys: &'a [Key<'a>]) -> Reply<'a, Result<Vec<Option<Found>>, StoreError>> {
        let (shared, now) = (&*self.shared, self.shared.clock.now());
        let found: Vec<_> = keys.iter().map(|key| shared.near(*key, now)).collect();
        let hits = found.iter().flatten().count();
        shared.meters.near_hits.increment(hits as u64);
        if hits == keys.len() {
            return Reply::ready(Ok(found));
        }
        shared.meters.near_misses.increment((keys.len() - hits) as u64);
        Reply::pending(shared.get_many(keys, found))
    }

    #[inline]
    fn lookup<'a>(&'a self, key: Key<'a>, claim: Claim<'a>) -> Reply<'a, Result<Lookup, StoreError>> {
        let shared = &*self.shared;
        if let Some(found) = shared.near(key, shared.clock.now())
            && found.fresh_for > claim.min_fresh
        {
            shared.meters.near_hits.increment(1);
            return Reply::ready(Ok(Lookup::Hit(found)));
        }
        shared.meters.near_misses.increment(1);
        Reply::bounded(shared.redis.patience(), shared.lookup(key, claim))
    }

    fn put<'a>(&'a self, entries: &'a [(Key<'a>, Entry)]) -> Reply<'a, Result<(), StoreError>> {
        let one_command = matches!(entries, [(_, entry)] if entry.tags.is_empty());
        let bound = if one_command { self.shared.redis.patience() } else { Duration::MAX };
        Reply::bounded(bound, self.shared.put(entries))
    }

    fn put_if_newer<'a>(
        &'a self,
        key: Key<'a>,
        entry: Entry,
        version: u64,
    ) -> Reply<'a, Result<bool, StoreError>> {
        Reply::pending(self.shared.put_if_newer(key, entry, version))
    }

    fn settle<'a>(
        &'a self,
        key: Key<'a>,
        token: Token,
        outcome: Outcome,
    ) -> Reply<'a, Result<Settled, StoreError>> {
        let one_command = !matches!(&outcome, Outcome::Fill(entry) if !entry.tags.is_empty());
        let bound = if one_command { self.shared.redis.patience() } else { Duration::MAX };
        Reply::bounded(bound, self.shared.settle(key, token, outcome))
    }

    fn invalidate<'a>(&'a self, target: Target<'a>) -> Reply<'a, Result<bool, StoreError>> {
        Reply::pending(async move {
            match target {
                Target::Key(key) => self.shared.invalidate(key).await,
                Target::Tag(tag) => self.shared.invalidate_tag(tag).await.map(|()| false),
                Target::Version { key, version } => self.shared.invalidate_version(key, version).await,
            }
        })
    }

    fn changed(&self, key: Key<'_>) -> Reply<'static, ()> {
        waiting::changed(&self.shared, key)
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache").field("redis", &self.shared.redis).finish_non_exhaustive()
    }
}

/// Whole milliseconds, rounded up: at least one.
fn millis(time: Duration) -> u64 {
    let time = time.min(LONGEST).as_micros().div_ceil(1_000);
    u64::try_from(time).expect("the longest time is not so long").max(1)
}
