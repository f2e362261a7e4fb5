//! Work that goes on although its caller has gone.

use std::sync::Arc;
use std::time::Duration;

use mainstay::task::{Overrun, TaskGroup};
use tokio::sync::oneshot;
use tracing::Instrument;

/// Runs what must not stop half-way: who hangs up between a commit and what follows from it would leave an old version
/// in the cache, or a session that a new password should have ended. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToItsEnd(Arc<TaskGroup>);

impl ToItsEnd {
    /// Answers what `work` does; it goes on if this is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let (answer, answered) = oneshot::channel();
        self.start(name, async move {
            // Nobody may be listening any more.
            let _ = answer.send(work.await);
        });
        answered.await.expect("work answers unless it panics")
    }

    /// Lets `work` go on beside its caller.
    pub(crate) fn start(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(name, work.in_current_span());
    }

    /// Waits for what goes on.
    pub(crate) async fn stop(&self) -> Result<(), Overrun> {
        self.0.stop(Duration::from_secs(5)).await
    }
}
