//! A thread of its own for the connection that renewals go over.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Runs a small runtime until it is stopped or dropped. The user's runtime may be blocked; this one is not.
#[derive(Debug)]
pub(crate) struct KeeperThread {
    handle: Handle,
    /// Dropped to end the thread.
    end: Mutex<Option<watch::Sender<()>>>,
    ended: watch::Receiver<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl KeeperThread {
    pub(crate) fn start() -> Self {
        let (end, mut asked) = watch::channel(());
        let (alive, ended) = watch::channel(());
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .build()
            .expect("the system has room for a runtime");
        let handle = runtime.handle().clone();
        let run = move || {
            runtime.block_on(async { while asked.changed().await.is_ok() {} });
            // Without waiting for a name that is being looked up.
            runtime.shutdown_background();
            drop(alive);
        };
        let thread = std::thread::Builder::new().name("redis-keeper".into()).spawn(run);
        let thread = thread.expect("the system has room for a thread");
        Self { handle, end: Mutex::new(Some(end)), ended, thread: Mutex::new(Some(thread)) }
    }

    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends the thread with all that runs on it, and waits until it has ended. Must not be awaited on it.
    pub(crate) async fn stop(&self) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
        // It has nothing left to do but to return.
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _panicked = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn its_tasks_run_while_this_runtime_is_blocked_and_end_with_it() {
        let keeper = KeeperThread::start();
        let (sent, received) = std::sync::mpsc::channel();
        let held = sent.clone();
        keeper.handle().spawn(async move {
            let _held = held;
            tokio::time::sleep(Duration::from_millis(1)).await;
            sent.send(std::thread::current().name().map(str::to_owned)).unwrap();
            std::future::pending::<()>().await;
        });
        assert_eq!(received.recv().unwrap().as_deref(), Some("redis-keeper"));
        keeper.stop().await;
        keeper.stop().await;
        assert!(received.recv().is_err(), "its tasks were dropped");
    }

    #[tokio::test]
    async fn dropping_it_ends_its_thread_without_waiting() {
        let keeper = KeeperThread::start();
        let mut ended = keeper.ended.clone();
        drop(keeper);
        while ended.changed().await.is_ok() {}
    }
}
