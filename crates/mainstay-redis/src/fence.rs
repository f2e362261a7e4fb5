//! Values that refuse who comes too late.
//!
//! No lock keeps a process from stopping between its last check and its write. So the **resource** decides: it
//! remembers the highest [`Fence`] it has accepted and refuses lower ones (Kleppmann, "How to do distributed locking",
//! 2016). A [`FencedStore`] is such a resource on a Redis server. It is as durable as that server: where a failover can
//! lose the last writes, it loses the fences with them, so what must not be lost belongs in a database
//! (`UPDATE … WHERE fence <= $t`).
//!
//! ```no_run
//! # async fn f(redis: mainstay_redis::Redis, locks: mainstay_core::lock::Locks) -> Result<(), Box<dyn std::error::Error>> {
//! use mainstay_redis::fence::FencedStore;
//!
//! let store = FencedStore::new(redis, "billing");
//! let report = store.key("report:2026-01")?;
//! let floor = report.get().await?.fence;
//! let guard = locks.lock("report:2026-01").floor(floor).acquire().await?;
//! report.set(guard.fence(), b"7 rows").await?; // refused if a later holder has written
//! # Ok(()) }
//! ```

use bytes::Bytes;

use mainstay_core::key::{InvalidKey, Key, Space};
use mainstay_core::lock::Fence;
use mainstay_core::store::StoreError;

use crate::{CallError, Class, Command, Redis, Script};

/// Values of one namespace, each guarded by the highest fence it was written under.
#[derive(Debug)]
pub struct FencedStore {
    redis: Redis,
    space: Space,
    set: Script,
    delete: Script,
}

/// One value of a [`FencedStore`].
#[derive(Debug, Clone)]
pub struct FencedKey<'a> {
    store: &'a FencedStore,
    written: String,
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fenced {
    /// The value; `None` if there is none or it was deleted.
    pub value: Option<Bytes>,
    /// The highest fence that was accepted: the floor for the next holder.
    pub fence: Fence,
}

/// Why nothing is known to be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A later holder has written: nothing was changed, and never will be under this fence.
    #[error("stale: written under fence {accepted}")]
    Stale {
        /// The highest fence that was accepted.
        accepted: Fence,
    },
    /// The server did not answer, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Self::Store(error.into())
    }
}

impl FencedStore {
    /// The fenced values of a namespace.
    #[must_use]
    pub fn new(redis: Redis, namespace: &str) -> Self {
        Self {
            redis,
            space: Space::new(namespace, "fenced"),
            set: Script::new(include_str!("fence/set.lua")),
            delete: Script::new(include_str!("fence/delete.lua")),
        }
    }

    /// One of them.
    ///
    /// # Errors
    /// [`InvalidKey`] if the name cannot be a key.
    pub fn key(&self, name: &str) -> Result<FencedKey<'_>, InvalidKey> {
        Ok(FencedKey { store: self, written: self.space.written(Key::new(name)?, "v") })
    }
}

impl FencedKey<'_> {
    /// The value, and the highest fence.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(&self) -> Result<Fenced, Error> {
        let get = Command::new(Class::Read, "HMGET").key(&self.written).arg("value").arg("fence");
        let [value, fence] = self.store.redis.call(get).await?.into_array()?;
        let fence = if fence == crate::Answer::Nil { 0 } else { parsed(fence.text()?)? };
        let value = if value == crate::Answer::Nil { None } else { Some(value.into_bytes()?) };
        Ok(Fenced { value, fence: Fence::from(fence) })
    }

    /// Writes, if no higher fence was accepted before. Who holds one fence can write often; a copy of a write whose
    /// outcome is unknown may arrive late, until a higher fence was accepted.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Store`], of which [`StoreError::Unknown`] may have been written. Dropping the future
    /// does not take the write back.
    pub async fn set(&self, fence: Fence, value: &[u8]) -> Result<(), Error> {
        self.accepted(self.store.set.call(Class::Idem, &[&self.written]).arg(fence.get()).arg(value)).await
    }

    /// Deletes the value, if no higher fence was accepted before. The fence is remembered for 7 days, or until the next
    /// write.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn delete(&self, fence: Fence) -> Result<(), Error> {
        self.accepted(self.store.delete.call(Class::Idem, &[&self.written]).arg(fence.get())).await
    }

    async fn accepted(&self, write: Command) -> Result<(), Error> {
        match self.store.redis.call(write).await?.text()? {
            "OK" => Ok(()),
            seen => Err(Error::Stale { accepted: Fence::from(parsed(seen)?) }),
        }
    }
}

/// All 64 bits: a server's own numbers have 63.
fn parsed(digits: &str) -> Result<u64, CallError> {
    digits.parse().map_err(|_| CallError::unexpected("no fence"))
}
