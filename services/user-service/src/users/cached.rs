//! Users read through the cache.

use std::sync::Arc;
use std::time::Duration;

use mainstay::cache::{self, Cache, Ttl};
use tracing::{Instrument, Span};

use super::vault::Kept;
use super::{Error, User, UserRepository, Vault};

/// How old, a tenth more or less, a user may be who was changed on an instance with a cache of its own: without a
/// common store, each instance hears of its own writes only. With one, it hears of all within 3 s, and of those made
/// while the store was away when the writer has reached it again.
const TTL: Ttl = Ttl::seconds(60);
/// How long after that a user is still served while the database fails,
const STALE: Duration = Duration::from_secs(300);
/// or does not answer for so long. Up to then who asks waits for what is true now.
const PATIENCE: Duration = Duration::from_secs(2);
/// Ids are random: nobody asks for one before it exists, except to guess.
const UNKNOWN: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct CachedUsers {
    users: Arc<dyn UserRepository>,
    cache: Cache,
    vault: Vault,
}

impl CachedUsers {
    pub(super) fn new(users: Arc<dyn UserRepository>, cache: Cache, vault: Vault) -> Self {
        Self { users, cache, vault }
    }

    /// The user as of the last write on this instance, and of at most 3 s (without a common store, [`TTL`]) ago
    /// otherwise.
    pub(super) async fn get(&self, id: &str) -> Result<Option<User>, Error> {
        let policy = TTL.stale_for(STALE).soft_timeout(PATIENCE).negative_ttl(UNKNOWN);
        let (users, wanted) = (self.users.clone(), id.to_owned());
        // A load is a task of the cache; what it logs belongs to the request that began it.
        let request = Span::current();
        let vault = self.vault.clone();
        let load = move || {
            async move { users.get(&wanted).await?.map(|user| vault.seal_cached(&user)).transpose() }
                .instrument(request)
        };
        match self.cache.get_or_load_optional::<Kept, Error, _, _>(&key(id), policy, load).await {
            Ok(None) => Ok(None),
            Ok(Some(kept)) => match self.vault.open_cached(kept) {
                Ok(user) => Ok(Some(user)),
                // Kept under a key that is gone.
                Err(error) => {
                    tracing::debug!(%error, "user read without the cache");
                    self.users.get(id).await
                }
            },
            Err(
                error @ (cache::Error::Load(_)
                | cache::Error::LoadTimeout { .. }
                | cache::Error::LoadPanicked),
            ) => Err(Error::Read(error)),
            // What is wrong is the cache, which nobody needs to read a user.
            Err(error) => {
                tracing::debug!(%error, "user read without the cache");
                self.users.get(id).await
            }
        }
    }

    /// To be called after the commit of every write: what is read next is what was written, and a load that
    /// began before is not kept. The write stands even if this fails; the cache then repeats it until its store is
    /// back, and only if this process dies before is the old version served elsewhere, for at most [`TTL`], or
    /// [`STALE`] longer if the database fails as well.
    pub(super) async fn forget(&self, id: &str) {
        if let Err(error) = self.cache.delete(&key(id)).await {
            // One line for each write of an outage would be a flood; `cache_invalidations_owed` counts them.
            tracing::debug!(%error, user = id, "user not removed from the cache yet");
        }
    }
}

fn key(id: &str) -> String {
    // Another form than that of `user:<id>`, which earlier versions wrote.
    format!("user-sealed:{id}")
}
