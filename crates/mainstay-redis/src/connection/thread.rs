//! A thread of its own for the connection that renewals go over.

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Runs a small runtime until it is dropped. The user's runtime may be blocked; this one is not.
#[derive(Debug)]
pub(crate) struct KeeperThread {
    handle: Handle,
    /// Dropping it ends the thread.
    _end: oneshot::Sender<()>,
}

impl KeeperThread {
    pub(crate) fn start() -> Self {
        let (end, ended) = oneshot::channel::<()>();
        let runtime =
            Builder::new_current_thread().enable_all().build().expect("the system has room for a runtime");
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("redis-keeper".into())
            .spawn(move || {
                let _ended = runtime.block_on(ended);
            })
            .expect("the system has room for a thread");
        Self { handle, _end: end }
    }

    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }
}
