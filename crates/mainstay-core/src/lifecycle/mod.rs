//! How a process ends: the drain sequence, with a deadline for every piece of work.
//!
//! Rooms register what they do in a [`Step`]; the host runs the steps in their fixed order:
//!
//! 1. [`Step::NotReady`]: `/ready` fails, as [`Lifecycle::phase`] is no longer [`Phase::Running`].
//! 2. [`Step::DrainDelay`]: keep serving while balancers take the instance out. Under Kubernetes
//!    SIGTERM and the removal from the endpoints race; the removal takes 1 to 30 s to spread.
//! 3. [`Step::StopAccepting`]: close the listeners.
//! 4. [`Step::FinishRequests`]: wait for the requests in flight.
//! 5. [`Step::StopComponents`]: one after the other, the last registered first.
//! 6. [`Step::Flush`]: logs, traces, outboxes.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use mainstay_core::lifecycle::{Lifecycle, Options, Step};
//! use std::time::Duration;
//!
//! let lifecycle = Lifecycle::new(Options::default().drain_delay(Duration::ZERO));
//! lifecycle.on(Step::Flush, "logs", Duration::from_secs(1), || async { Ok::<_, std::io::Error>(()) });
//! lifecycle.running();
//!
//! lifecycle.request_shutdown("the example is over"); // usually `signals` does
//! let report = lifecycle.run_shutdown().await;
//! assert!(report.is_clean());
//! # });
//! ```
//!
//! # Promise
//! - Steps run in order; each piece of work runs at most once, whoever calls
//!   [`Lifecycle::run_shutdown`], however often, and whichever of those calls is dropped.
//! - Work that fails, panics or overruns is named in the report and the log; the sequence goes on.
//! - The whole sequence ends within its total deadline; [`Lifecycle::abort`], which a second signal
//!   calls, ends it at once. What had no chance to end is reported as [`Outcome::Cut`].
//!
//! # Not promised
//! - A deadline for code that blocks its thread without awaiting; no deadline can cut that.
//! - Time for later steps when earlier ones use up the total deadline: give each step a deadline
//!   that leaves room for the rest.
//!
//! # Defaults
//! Total deadline 30 s, drain delay 5 s (part of the total; 0 skips the step's wait).
//!
//! # Metrics
//! None. Every step and every failure is logged.

mod phase;
mod report;
mod sequence;
mod signals;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use phase::{Options, Phase, Step};
pub use report::{Entry, Outcome, Report};
pub use signals::signals;

use sequence::{Hook, Sequence};

/// The life of one process or one app in it. Cheap to clone; all clones are the same life.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    phase: watch::Sender<Phase>,
    hooks: Mutex<Vec<Hook>>,
    /// The reason of the first request.
    requested: watch::Sender<Option<String>>,
    aborted: CancellationToken,
    sequence: tokio::sync::Mutex<Sequence>,
}

impl Lifecycle {
    /// A life in [`Phase::Starting`].
    #[must_use]
    pub fn new(options: Options) -> Self {
        let lifecycle = Self {
            shared: Arc::new(Shared {
                options,
                phase: watch::Sender::new(Phase::Starting),
                hooks: Mutex::default(),
                requested: watch::Sender::new(None),
                aborted: CancellationToken::new(),
                sequence: tokio::sync::Mutex::default(),
            }),
        };
        if !options.drain_delay.is_zero() {
            let wait = move || async move {
                tokio::time::sleep(options.drain_delay).await;
                Ok::<_, std::convert::Infallible>(())
            };
            // The wait is bounded by the total deadline only: it is its own deadline.
            lifecycle.on(Step::DrainDelay, "drain delay", Duration::MAX, wait);
        }
        lifecycle
    }

    /// The current phase, to read (`*phase.borrow()`) or to wait on.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }

    /// Tells that start-up is complete. Without effect when shutdown has begun.
    pub fn running(&self) {
        self.shared.phase.send_if_modified(|phase| {
            let starting = *phase == Phase::Starting;
            if starting {
                *phase = Phase::Running;
            }
            starting
        });
    }

    /// Registers work for `step`, to end within `deadline`.
    ///
    /// The work of one step runs concurrently, except in [`Step::StopComponents`]. Work registered
    /// for a step that has begun never runs; the log says so.
    ///
    /// # Cancellation
    /// The future of `work` is dropped at its deadline, at the total deadline and on
    /// [`Lifecycle::abort`].
    pub fn on<F, Fut, E>(&self, step: Step, name: impl Into<String>, deadline: Duration, work: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let hook = Hook::new(step, name.into(), deadline, work);
        // Judged under the lock under which the sequence takes the work of a step.
        let mut hooks = self.shared.hooks();
        let too_late = match *self.shared.phase.borrow() {
            Phase::Starting | Phase::Running => false,
            Phase::Draining(current) => step <= current,
            Phase::Stopped => true,
        };
        if too_late {
            tracing::warn!(?step, name = hook.name, "registered too late for shutdown, will not run");
        } else {
            hooks.push(hook);
        }
    }

    /// Asks for shutdown. The first reason is kept; asking again changes nothing, since two parts
    /// of a process may fail at the same time. To cut a shutdown short, [`Lifecycle::abort`].
    pub fn request_shutdown(&self, reason: impl Into<String>) {
        self.shared.requested.send_if_modified(|requested| {
            let first = requested.is_none();
            if first {
                let reason = reason.into();
                tracing::info!(reason, "shutdown requested");
                *requested = Some(reason);
            }
            first
        });
    }

    /// Waits for [`Lifecycle::request_shutdown`] and returns its reason.
    ///
    /// # Cancellation
    /// Dropping the future changes nothing.
    pub async fn shutdown_requested(&self) -> String {
        let mut requested = self.shared.requested.subscribe();
        let reason = requested.wait_for(Option::is_some).await.expect("the sender is in self");
        reason.clone().expect("waited for it")
    }

    /// Ends shutdown at once: the work that runs is dropped, the work that waits never runs. Asks
    /// for shutdown if nobody has.
    pub fn abort(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::warn!(reason, "shutdown aborted");
        self.request_shutdown(reason);
        self.shared.aborted.cancel();
    }

    /// Runs the sequence to its end and returns what happened. Asks for shutdown if nobody has.
    ///
    /// A second caller waits for the first and gets the same report.
    ///
    /// # Cancellation
    /// Dropping the future drops the work that was running and reports it as [`Outcome::Cut`];
    /// another call goes on with what has not begun. The total deadline counts from the first call.
    pub async fn run_shutdown(&self) -> Report {
        self.request_shutdown("asked to run");
        self.shared.run().await
    }
}

impl Shared {
    fn hooks(&self) -> MutexGuard<'_, Vec<Hook>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters `step` and takes its work, in the order of registration.
    fn enter(&self, step: Step) -> Vec<Hook> {
        let mut hooks = self.hooks();
        self.phase.send_replace(Phase::Draining(step));
        let (entered, later) = std::mem::take(&mut *hooks).into_iter().partition(|hook| hook.step == step);
        *hooks = later;
        entered
    }
}
