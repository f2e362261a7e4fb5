//! Waiting for a key to change.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::cache::Token;
use mainstay_core::key::Key;
use mainstay_core::store::{Reply, StoreError};
use tokio::task::JoinHandle;

use crate::{Answer, Class, Command};

use super::{Shared, lease};

/// While nobody says for certain when something changes, one look in this time.
const BLIND_LOOK: Duration = Duration::from_millis(250);

/// Ends with the task, and the task with it.
struct Waiting(JoinHandle<()>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// See [`Store::changed`](mainstay_core::cache::Store::changed). A task of its own, because waiting begins with the
/// call: it ends when the returned reply does.
pub(super) fn changed(shared: &Arc<Shared>, key: Key<'_>) -> Reply<'static, ()> {
    let (channel, lease) = (shared.names.channel(key), shared.names.lease(key));
    let mut waiting = Waiting(tokio::spawn(wait(Arc::clone(shared), channel, lease)));
    Reply::pending(async move {
        let _ended = (&mut waiting.0).await;
    })
}

async fn wait(shared: Arc<Shared>, channel: String, lease: String) {
    let Ok(bell) = shared.redis.listen(channel.into_bytes()).await else {
        return tokio::time::sleep(BLIND_LOOK).await;
    };
    // What happened before the server began to tell is seen by looking.
    match lease_of(&shared, &lease).await {
        Ok(Some(Some(_loads))) => bell.await,
        // Kept from everybody, perhaps only since the wait began.
        Ok(Some(None)) => drop(tokio::time::timeout(BLIND_LOOK, bell).await),
        Ok(None) => {}
        Err(_) => tokio::time::sleep(BLIND_LOOK).await,
    }
}

/// Who holds the lease; nobody while it is kept from everybody. `None` if there is none.
async fn lease_of(shared: &Shared, lease: &str) -> Result<Option<Option<Token>>, StoreError> {
    match shared.redis.call(Command::new(Class::Read, "GET").key(lease)).await? {
        Answer::Bytes(held) => Ok(lease::read(held).map(|(holder, _tags)| holder)),
        _ => Ok(None),
    }
}
