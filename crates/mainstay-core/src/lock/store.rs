//! What a place that keeps locks must guarantee.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::{Fence, Token};
use crate::key::Key;
use crate::store::{Reply, StoreError};

/// Keeps who holds what. Each method is one atomic decision; the store owns the clock it decides by.
///
/// For every key:
/// 1. At any moment the number of holders is at most the permits each of them asked for. A claim that holds
///    ends with its ttl, unless renewed, or with its release.
/// 2. The fence of a grant is higher than that of every grant before it, and than the claim's floor; a
///    floor more than [`FLOOR_AHEAD`] ahead of the calendar counts as that far ahead. It survives the loss of all
///    state, because it is at least the calendar's time in microseconds.
/// 3. Only the attempt that holds can renew or release. Renewing never makes a holder.
/// 4. State for a key is bounded and vanishes when nobody holds, waits for or has lately cancelled it.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Holds `key` for the claim's attempt if a permit is free. An attempt that holds already gets the same fence
    /// and a new ttl, so asking again after a lost answer is safe.
    fn acquire<'a>(&'a self, key: Key<'a>, claim: Claim) -> Reply<'a, Result<Acquired, StoreError>>;

    /// Makes the ttl begin anew if `attempt` holds `key` with `fence`.
    fn renew<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        fence: Fence,
        ttl: Duration,
    ) -> Reply<'a, Result<Renewed, StoreError>>;

    /// Ends the attempt: it no longer holds, and for `tombstone` it cannot hold (again), so that a copy of its
    /// acquire that arrives late is refused. A tombstone of zero leaves nothing behind.
    fn release<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        tombstone: Duration,
    ) -> Reply<'a, Result<Release, StoreError>>;

    /// A future that ends soon after a holder of `key` was released from now on; it may end without cause.
    /// Expiry need not end it. Dropping it ends the subscription.
    fn changed<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Changed, StoreError>>;

    /// Who holds `key`, by their fences: at most [`SHOWN_HOLDERS`], those with the lowest. For people to look at: what is
    /// shown may be over when it is read.
    fn holders<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Vec<Holder>, StoreError>>;

    /// At most `limit` (and at most [`SHOWN_KEYS`]) keys that are held, in no order, each with what
    /// [`holders`](Self::holders) shows. Costs the store no more than a bounded amount of work at a time.
    fn list(&self, limit: usize) -> Reply<'_, Result<Vec<LockState>, StoreError>>;
}

/// How many keys a store shows at once, at most.
pub const SHOWN_KEYS: usize = 1_000;

/// How many holders of a key a store shows, at most.
pub const SHOWN_HOLDERS: usize = 100;

/// How far ahead of the calendar a floor can push a fence: one bad caller cannot burn the counter.
pub const FLOOR_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// See [`Store::changed`].
pub type Changed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What an attempt asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Names the attempt, and nothing else ever.
    pub attempt: Token,
    /// How many may hold at once, this one included. One is a lock. Where holders disagree, the smaller number
    /// wins.
    pub permits: u32,
    /// How long it holds if not renewed.
    pub ttl: Duration,
    /// The fence must be higher.
    pub floor: Fence,
}

/// Answer to [`Store::acquire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    /// The attempt holds.
    Granted {
        /// The attempt's only fence.
        fence: Fence,
    },
    /// No permit is free.
    Held {
        /// The first of the holders ends after this time if it is not renewed.
        retry_in: Duration,
        /// The latest holder's.
        fence: Fence,
    },
    /// The attempt was released before.
    Cancelled,
}

/// Answer to [`Store::renew`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// The ttl began anew.
    Renewed,
    /// The attempt does not hold.
    Lost,
}

/// One who holds a key; see [`Store::holders`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The attempt's [`short_id`](Token::short_id): tells holders apart and releases nothing.
    pub id: Box<str>,
    /// The attempt's fence.
    pub fence: Fence,
    /// How many it lets hold at once, itself included.
    pub permits: u32,
    /// How long ago it was granted; renewing does not change it.
    pub since: Duration,
    /// It ends after this time if it is not renewed.
    pub ends_in: Duration,
    /// The process, as the store was told when it was made; empty if it was not.
    pub owner: Box<str>,
}

/// A key that is held; see [`Store::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockState {
    /// The key, or, where the store keeps only the digest of a long one, that.
    pub key: Box<str>,
    /// Who holds it: at least one.
    pub holders: Vec<Holder>,
    /// How many wait for it, as far as the store knows: tasks in this process, processes on a server.
    pub waiting: usize,
}

/// Whether there was something to release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The lock was held and is now free.
    Released,
    /// It was not held by this token: released before, expired, or another's.
    NotHeld,
}
