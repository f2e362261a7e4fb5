//! Locks and semaphores on a Redis server: a [`Store`] for [`Locks`](mainstay_core::lock::Locks).
//!
//! Each verb is one script and one round trip. The server's clock decides what has expired, in microseconds; a
//! client's clock decides nothing. The algorithm is that of a lease with fencing tokens (Gray and Cheriton, "Leases",
//! SOSP 1989; Kleppmann, "How to do distributed locking", 2016), with the fence `max(last + 1, calendar, floor + 1)`.
//!
//! # Promise
//! - The fence of a grant is higher than that of every grant the server remembers, than the floor of its claim, and
//!   than the server's calendar was in microseconds. So it is higher than every earlier one, also after the server has
//!   lost its state or was replaced by a replica that had missed the last grants, **if** either the claim's floor is
//!   what the resource has last accepted, **or** the calendars of the old and the new server differ by less than the
//!   time that the change took.
//! - While the primary and the calendars behave, no more hold a key than its permits, by the server's time.
//! - An attempt has one fence, however many copies of its question arrive; once its cancellation was answered it does
//!   not hold, also if a copy arrives late.
//! - Whoever falls silent holds for its ttl. If the server's calendar is set back, for a ttl from when the next who
//!   wants the key has noticed.
//! - A release wakes who waits, in any process, by one message.
//!
//! # Not promised
//! - Mutual exclusion. Redis answers before its replicas know: after a failover two may believe that they hold. The
//!   resource decides, by the fence: see [`fence`](crate::fence).
//! - That a lock outlives a step of the server's calendar forward: it ends that much sooner, before its holder knows.
//! - Locks on a server that evicts keys of its own accord (`maxmemory-policy allkeys-*`), or that are deleted by hand.
//! - That a message arrives: Redis forgets those of a lost connection. Whoever waits asks again when the
//!   subscription was lost, every second until there is one again, and when the holder's ttl is over.
//! - Speed with thousands of holders of one semaphore: each verb reads and writes all of them, which takes the server
//!   two to three microseconds for each.
//!
//! # If the store is down
//! [`Refuse`](mainstay_core::store::Degrade::Refuse): every verb fails at once. What is held ends with its ttl.
//!
//! # Defaults
//! The last fence of a key is remembered for 7 days after its last grant; after that the calendar stands for it. Of
//! a holder's name 128 printable ASCII characters are shown. [`Store::list`] looks at up to 100,000 of the database's keys
//! (of each server of a Cluster), for 200 ms.
//!
//! # Metrics
//! None of its own: those of [`mainstay_core::lock`] and of the connection.

mod list;
mod script;

use std::time::Duration;

use mainstay_core::key::{Key, Space};
use mainstay_core::lock::{
    Acquired, Changed, Claim, Fence, Holder, LockState, Release, Renewed, SHOWN_HOLDERS, Store, Token,
};
use mainstay_core::store::{Reply, StoreError};

use crate::{Answer, CallError, Class, Command, Lane, Redis};
use script::Scripts;

#[doc(hidden)]
pub use script::Sources;

/// Longest name of an owner.
const MAX_OWNER: usize = 128;

/// Whoever cannot subscribe now asks again after this time. A server that is gone is not asked: it fails at once.
const DEAF: Duration = Duration::from_secs(1);

/// Keeps locks on the server of a [`Redis`].
///
/// State for each key that is held: two small strings (of a semaphore, one of about 90 bytes for each
/// holder), and one for each attempt that was lately cancelled; all of them expire by themselves.
#[derive(Debug)]
pub struct RedisLocks {
    redis: Redis,
    space: Space,
    owner: String,
    scripts: Scripts,
}

impl RedisLocks {
    /// The locks of a namespace. `owner` names this process to whoever looks who holds what; what is not printable
    /// ASCII becomes `_`.
    #[must_use]
    pub fn new(redis: Redis, namespace: &str, owner: &str) -> Self {
        Self::with_sources(redis, namespace, owner, Sources::default())
    }

    /// For tests of the tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_sources(redis: Redis, namespace: &str, owner: &str, sources: Sources) -> Self {
        let shown = |c: char| if c.is_ascii_graphic() { c } else { '_' };
        Self {
            redis,
            space: Space::new(namespace, "lock"),
            owner: owner.chars().take(MAX_OWNER).map(shown).collect(),
            scripts: Scripts::new(sources),
        }
    }

    /// What all keys of a lock begin with.
    fn stem(&self, key: Key<'_>) -> String {
        self.space.written(key, "")
    }

    fn ask<T: Send + 'static>(
        &self,
        command: Command,
        read: fn(Answer) -> Result<T, CallError>,
    ) -> Reply<'static, Result<T, StoreError>> {
        let redis = self.redis.clone();
        Reply::bounded(self.redis.patience(), async move { Ok(read(redis.call(command).await?)?) })
    }

    fn show(&self, holders: &str) -> Command {
        self.scripts.holders.call(Class::Read, &[holders]).arg(SHOWN_HOLDERS)
    }
}

impl Store for RedisLocks {
    /// Not sent again by itself when the answer is lost: who asks again must know that a copy is on its way, so that
    /// the release leaves a tombstone for it.
    fn acquire<'a>(&'a self, key: Key<'a>, claim: Claim) -> Reply<'a, Result<Acquired, StoreError>> {
        let Claim { attempt, permits, ttl, floor } = claim;
        let stem = self.stem(key);
        let keys = [format!("{stem}l"), format!("{stem}f"), format!("{stem}x:{attempt}")];
        let acquire = self.scripts.acquire.call(Class::Once, &[&keys[0], &keys[1], &keys[2]]);
        let claim = acquire.arg(attempt.to_string()).arg(permits).arg(micros(ttl));
        self.ask(claim.arg(floor.get()).arg(&self.owner), acquired)
    }

    fn renew<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        fence: Fence,
        ttl: Duration,
    ) -> Reply<'a, Result<Renewed, StoreError>> {
        let renew = self.scripts.renew.call(Class::Idem, &[&self.space.written(key, "l")]);
        let renew = renew.arg(attempt.to_string()).arg(fence.get()).arg(micros(ttl));
        self.ask(renew.lane(Lane::Keeper), |answer| {
            Ok(if answer.int()? == 1 { Renewed::Renewed } else { Renewed::Lost })
        })
    }

    /// Not sent again by itself when the answer is lost: the second answer would say that nothing was held.
    fn release<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        tombstone: Duration,
    ) -> Reply<'a, Result<Release, StoreError>> {
        let stem = self.stem(key);
        let (holders, buried) = (format!("{stem}l"), format!("{stem}x:{attempt}"));
        let keys = [&*holders, &*buried];
        let keys = if tombstone.is_zero() { &keys[..1] } else { &keys };
        let release = self.scripts.release.call(Class::Once, keys).arg(attempt.to_string());
        let release = release.arg(format!("{stem}c")).arg(micros(tombstone).div_ceil(1_000));
        self.ask(release, |answer| Ok(if answer.int()? == 1 { Release::Released } else { Release::NotHeld }))
    }

    fn changed<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Changed, StoreError>> {
        let channel = self.space.written(key, "c").into_bytes();
        Reply::pending(async move {
            let changed: Changed = match self.redis.listen(channel).await {
                Ok(bell) => Box::pin(bell),
                Err(error @ CallError::Rejected { .. }) => return Err(error.into()),
                Err(_) => Box::pin(tokio::time::sleep(DEAF)),
            };
            Ok(changed)
        })
    }

    fn holders<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Vec<Holder>, StoreError>> {
        self.ask(self.show(&self.space.written(key, "l")), shown)
    }

    fn list(&self, limit: usize) -> Reply<'_, Result<Vec<LockState>, StoreError>> {
        Reply::pending(self.list_held(limit))
    }
}

fn acquired(answer: Answer) -> Result<Acquired, CallError> {
    let words = answer.into_list()?;
    match (words.first().map(Answer::text).transpose()?, &words[..]) {
        (Some("GRANTED"), [_, fence]) => Ok(Acquired::Granted { fence: Fence::from(fence.uint()?) }),
        (Some("HELD"), [_, retry_in, fence]) => {
            let retry_in = Duration::from_micros(retry_in.uint()?);
            Ok(Acquired::Held { retry_in, fence: Fence::from(fence.uint()?) })
        }
        (Some("CANCELLED"), [_]) => Ok(Acquired::Cancelled),
        _ => Err(CallError::unexpected("no answer to a claim")),
    }
}

fn shown(answer: Answer) -> Result<Vec<Holder>, CallError> {
    answer.into_list()?.into_iter().map(holder).collect()
}

fn holder(line: Answer) -> Result<Holder, CallError> {
    let [id, fence, permits, since, ends_in, owner] = line.into_array()?;
    Ok(Holder {
        id: id.text()?.into(),
        fence: Fence::from(fence.uint()?),
        permits: u32::try_from(permits.uint()?).map_err(|_| CallError::unexpected("too many permits"))?,
        since: Duration::from_micros(since.uint()?),
        ends_in: Duration::from_micros(ends_in.uint()?),
        owner: owner.text()?.into(),
    })
}

/// A century is for ever; the server reckons in doubles, which hold it exactly.
fn micros(time: Duration) -> u64 {
    const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    u64::try_from(time.min(CENTURY).as_micros()).expect("a century has fewer microseconds")
}
