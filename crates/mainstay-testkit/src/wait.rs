//! Waiting for a condition.

use std::panic::Location;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Blocks until `condition` holds.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::time::Duration;
///
/// let done = AtomicBool::new(false);
/// std::thread::scope(|threads| {
///     threads.spawn(|| done.store(true, Ordering::Release));
///     mainstay_testkit::eventually("the thread is done", Duration::from_secs(10), || {
///         done.load(Ordering::Acquire)
///     });
/// });
/// ```
///
/// # Panics
///
/// If it does not hold within `deadline`, naming `what` and the caller's line. A condition that
/// itself blocks is not interrupted.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "without a runtime only the real clock is left; tests poll nowhere else"
)]
pub fn eventually(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(POLL);
    }
}

/// Waits until `condition` holds, on tokio's clock: where a test has paused it, no real time passes.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
///
/// let task = tokio::spawn(async {});
/// mainstay_testkit::eventually_async("the task has ended", Duration::from_secs(10), async || {
///     task.is_finished()
/// })
/// .await;
/// # });
/// ```
///
/// # Panics
///
/// If it does not hold within `deadline`, naming `what` and the caller's line. A condition that is
/// still pending then is dropped.
#[track_caller]
pub fn eventually_async(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> impl Future<Output = ()> {
    // An async fn would report its own line, not the caller's.
    let caller = Location::caller();
    async move {
        let poll = async {
            while !condition().await {
                tokio::time::sleep(POLL).await;
            }
        };
        if tokio::time::timeout(deadline, poll).await.is_err() {
            panic!("{caller}: not within {deadline:?}: {what}");
        }
    }
}
