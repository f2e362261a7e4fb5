//! The contract of a cache's store.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::key::Key;
use crate::store::{Reply, StoreError};

use super::Value;

/// How long a store remembers the version of a key that it was told, at least: longer than any load can take.
pub const VERSION_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// Where cached values lie: in this process ([`Memory`](super::Memory)) or on a server.
///
/// Every method is one atomic decision about its key. A key has at most one *value* and at most one *fill
/// lease*, the right to store what was loaded (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013):
///
/// - A value is *fresh* for a time, then *stale* for a time, then gone; the store's own clock judges. It may
///   be gone earlier (eviction), never later. A value whose tag was invalidated after the tag's epoch
///   was read, or whose tag the store has forgotten, is gone.
/// - A lease belongs to the token that took it, until it is settled, runs out or is broken. Whatever else changes
///   the value breaks it, so that nothing loaded before the change is stored after it.
/// - A read that begins after a change was acknowledged sees it.
///
/// Replies follow the rules of [`StoreError`]: after `Unavailable` and `Rejected` nothing has happened.
/// Every question may be asked again after `Unknown`: `lookup` with the same token gives the same
/// lease, a second `settle` is refused, the others say the same thing twice.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The fresh value of a key.
    fn get<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Option<Found>, StoreError>>;

    /// The fresh values of several keys, in their order. Each key is read for itself: together they are no
    /// snapshot.
    fn get_many<'a>(&'a self, keys: &'a [Key<'a>]) -> Reply<'a, Result<Vec<Option<Found>>, StoreError>>;

    /// The fresh value of a key or, if there is none, the lease to fill it.
    ///
    /// Fresh means: for longer than [`Claim::min_fresh`] to come. A lease that has run out is free; one
    /// that the claim's own token holds is given again, with the time it has left.
    fn lookup<'a>(&'a self, key: Key<'a>, claim: Claim<'a>) -> Reply<'a, Result<Lookup, StoreError>>;

    /// Stores values and breaks the leases of their keys. Each key is written for itself.
    fn put<'a>(&'a self, entries: &'a [(Key<'a>, Entry)]) -> Reply<'a, Result<(), StoreError>>;

    /// Stores a value of a version, if no such or newer version of the key was stored or
    /// [taken away](Target::Version) before, and breaks its lease. Says whether it did.
    ///
    /// A version is remembered for as long as its value lives, and for [`VERSION_MEMORY`] at least where the store
    /// has room. What else changes the key ([`put`](Self::put), [`settle`](Self::settle)) neither asks for its
    /// version nor changes it.
    fn put_if_newer<'a>(
        &'a self,
        key: Key<'a>,
        entry: Entry,
        version: u64,
    ) -> Reply<'a, Result<bool, StoreError>>;

    /// Ends a lease. [`Settled::Refused`], with nothing changed, if `token` does not hold it.
    fn settle<'a>(
        &'a self,
        key: Key<'a>,
        token: Token,
        outcome: Outcome,
    ) -> Reply<'a, Result<Settled, StoreError>>;

    /// Takes a value away and breaks its lease, or takes away all values of a tag. Says whether the key
    /// had a fresh value that is not [absent](Value::is_absent); of a tag it always says `false`, of a
    /// version whether it was newer than what was known.
    fn invalidate<'a>(&'a self, target: Target<'a>) -> Reply<'a, Result<bool, StoreError>>;

    /// Ends when the key's value or lease may have changed since this method returned; may end
    /// without cause. Waiting begins with the call, not with the first poll.
    fn changed(&self, key: Key<'_>) -> Reply<'static, ()>;
}

/// What [`Store::lookup`] asks for.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Who asks.
    pub token: Token,
    /// How long the lease lasts if it is given.
    pub lease: Duration,
    /// A value that stays fresh for no longer than this counts as stale. Zero for whoever only wants a value.
    pub min_fresh: Duration,
    /// Tags whose epochs come with the lease: what is loaded then bears them.
    pub tags: &'a [Arc<str>],
}

/// What [`Store::lookup`] found.
#[derive(Debug)]
#[non_exhaustive]
pub enum Lookup {
    /// A fresh value.
    Hit(Found),
    /// The lease: load the value and [settle](Store::settle).
    Lease {
        /// What may be served meanwhile.
        stale: Option<Found>,
        /// The claim's tags, with their epochs from before the load.
        tags: Vec<Tag>,
    },
    /// The lease is another's.
    Busy {
        /// What may be served meanwhile.
        stale: Option<Found>,
        /// Whose it is: somebody who loads. `None` while it is [kept](Outcome::Keep) from everybody.
        holder: Option<Token>,
        /// When it runs out.
        retry_in: Duration,
    },
}

/// A value as it is read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Found {
    /// The value.
    pub value: Arc<Value>,
    /// How long it stays fresh; zero if it is stale.
    pub fresh_for: Duration,
    /// How long it can still be served.
    pub usable_for: Duration,
}

impl Found {
    /// A value with the times it has left.
    #[must_use]
    pub const fn new(value: Arc<Value>, fresh_for: Duration, usable_for: Duration) -> Self {
        Self { value, fresh_for, usable_for }
    }
}

/// A value as it is written.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The value.
    pub value: Arc<Value>,
    /// How long it is fresh.
    pub fresh_for: Duration,
    /// How long after that it may be served as stale.
    pub stale_for: Duration,
    /// What can invalidate it, besides its key.
    pub tags: Vec<Tag>,
}

/// A tag on an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub name: Arc<str>,
    /// The tag's epoch before the value was loaded; `None` stands for the epoch at the time of writing.
    pub epoch: Option<u64>,
}

/// How a lease ends.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outcome {
    /// The value is stored.
    Fill(Entry),
    /// The next who asks gets the lease.
    GiveBack,
    /// Nobody gets the lease for this long; then it is free. Slows down loads that fail. What breaks the lease also
    /// ends this.
    Keep(Duration),
}

/// What became of [`Store::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// As asked.
    Done,
    /// The token does not hold the lease (any more): nothing changed.
    Refused,
}

/// What [`Store::invalidate`] takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// One value.
    Key(Key<'a>),
    /// All values that bear the tag.
    Tag(Key<'a>),
    /// One value, if no such or newer version of it is known. No older one is
    /// [stored](Store::put_if_newer) afterwards. What was stored without a version is taken away.
    Version {
        /// Its key.
        key: Key<'a>,
        /// The version in which it does not exist (any more).
        version: u64,
    },
}

/// Who holds a lease: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u128);

impl Token {
    /// A token nobody else has.
    #[must_use]
    #[inline]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

/// As it is [displayed](fmt::Display).
impl FromStr for Token {
    type Err = ParseIntError;

    fn from_str(digits: &str) -> Result<Self, ParseIntError> {
        u128::from_str_radix(digits, 16).map(Self)
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
