//! A thread for one future.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Runtime};

/// Runs `task` to its end on a thread of its own, that nobody joins, in a runtime of its own.
///
/// # Errors
/// The system gives no more threads or files; the task is dropped.
pub(super) fn run(task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let own = Own(Some(Builder::new_current_thread().enable_all().build()?));
    let run = move || {
        if let Some(runtime) = &own.0 {
            runtime.block_on(task);
        }
    };
    std::thread::Builder::new().name("lock keeper".to_owned()).spawn(run).map(drop)
}

/// A runtime that may be dropped within another, as it is when there is no thread to take it to.
struct Own(Option<Runtime>);

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
