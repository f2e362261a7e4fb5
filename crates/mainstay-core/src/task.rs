//! Tasks with an owner.
//!
//! A detached `tokio::spawn` outlives whoever needed it and hides its panic. A [`TaskGroup`] keeps
//! every task it started: the owner cancels them with one call, waits for them with a deadline and
//! learns the names of those that overran. Dropping the group cancels what is left.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Owns a set of background tasks.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use mainstay_core::task::TaskGroup;
/// use std::time::Duration;
///
/// let tasks = TaskGroup::new();
/// let cancelled = tasks.token();
/// tasks.spawn("ticker", async move { cancelled.cancelled().await });
/// assert!(tasks.stop(Duration::from_secs(1)).await.is_ok());
/// # });
/// ```
#[derive(Debug)]
pub struct TaskGroup {
    tracker: TaskTracker,
    running: Arc<Mutex<Vec<&'static str>>>,
    /// Cancels the token when the group is dropped without `stop`.
    token: DropGuard,
}

impl Default for TaskGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskGroup {
    /// An empty group.
    #[must_use]
    pub fn new() -> Self {
        Self::child_of(&CancellationToken::new())
    }

    /// An empty group that is also cancelled when `parent` is.
    #[must_use]
    pub fn child_of(parent: &CancellationToken) -> Self {
        Self {
            tracker: TaskTracker::new(),
            running: Arc::default(),
            token: parent.child_token().drop_guard(),
        }
    }

    /// The token that tells the tasks to finish. Tasks that must clean up listen to it themselves.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.token().clone()
    }

    /// Runs `task` until it ends by itself. It should end soon after [`TaskGroup::token`] is cancelled.
    ///
    /// A panic is logged under `name` and ends this task only.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(self.track(name, task)));
    }

    /// A task as [`TaskGroup::spawn`] runs it, for the caller to run: on a thread of its own, say. It counts from now
    /// until it has ended or was dropped.
    pub fn track<F>(&self, name: &'static str, task: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let entry = Running::enter(&self.running, name);
        let task = async move {
            let _entry = entry;
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(task = name, "background task panicked");
            }
        };
        self.tracker.track_future(task.instrument(tracing::debug_span!("task", name)))
    }

    /// Runs `task`, which is dropped at its next await once [`TaskGroup::token`] is cancelled: for work that has
    /// nothing to clean up. A panic is as in [`TaskGroup::spawn`].
    pub fn spawn_until_cancelled(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.token();
        self.spawn(name, async move {
            token.run_until_cancelled(task).await;
        });
    }

    /// Number of tasks that have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether every task has ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Cancels the group and waits until every task has ended.
    ///
    /// # Errors
    /// [`Overrun`] with the names of the tasks still running after `deadline`. They stay cancelled
    /// and owned by the runtime; waiting again is allowed. Dropping this future loses nothing.
    pub async fn stop(&self, deadline: Duration) -> Result<(), Overrun> {
        self.token.token().cancel();
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.map_err(|_| Overrun {
            tasks: self.running.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        })
    }
}

/// Tasks that did not end within their deadline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("still running after the deadline: {}", tasks.join(", "))]
#[non_exhaustive]
pub struct Overrun {
    /// Names given to [`TaskGroup::spawn`].
    pub tasks: Vec<&'static str>,
}

/// What a caught panic said, where it said so in words.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message")
}

/// Keeps a name in the list while its task lives, however the task ends.
struct Running {
    list: Arc<Mutex<Vec<&'static str>>>,
    name: &'static str,
}

impl Running {
    fn enter(list: &Arc<Mutex<Vec<&'static str>>>, name: &'static str) -> Self {
        list.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        Self { list: Arc::clone(list), name }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = list.iter().position(|name| *name == self.name) {
            list.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stop_names_the_tasks_that_overran() {
        let tasks = TaskGroup::new();
        let token = tasks.token();
        tasks.spawn("obedient", async move { token.cancelled().await });
        tasks.spawn("deaf", std::future::pending());
        let overrun = tasks.stop(Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(overrun.tasks, ["deaf"]);
    }

    #[tokio::test]
    async fn a_panicking_task_ends_alone() {
        let tasks = TaskGroup::new();
        tasks.spawn("bad", async { panic!("on purpose") });
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, Ok(()));
        assert!(tasks.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn work_without_an_end_of_its_own_is_dropped_when_the_group_stops() {
        let tasks = TaskGroup::new();
        tasks.spawn_until_cancelled("endless", std::future::pending());
        assert_eq!(tasks.stop(Duration::from_secs(1)).await, Ok(()));
    }

    #[test]
    fn a_panic_is_quoted_if_it_was_words() {
        let message = |panic: Box<dyn Any + Send>| panic_message(&*panic).to_owned();
        assert_eq!(message(Box::new("literal")), "literal");
        assert_eq!(message(Box::new("formatted".to_owned())), "formatted");
        assert_eq!(message(Box::new(7)), "no message");
    }

    #[tokio::test]
    async fn dropping_the_group_cancels_its_tasks() {
        let tasks = TaskGroup::new();
        let token = tasks.token();
        drop(tasks);
        assert!(token.is_cancelled());
    }
}
