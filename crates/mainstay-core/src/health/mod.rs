//! Is this process alive, should it get requests, and how are the things it depends on?
//!
//! # Promise
//! - Every [`Check`] runs in the background, in a task of its own, one run at a time. A probe that
//!   hangs is dropped at its timeout; the next run starts only after that. A blocking probe that
//!   never returns holds one thread, never two. A panic is a failed run.
//! - [`Health::live`], [`Health::ready`] and [`Health::report`] read stored results: they call no
//!   probe and wait for nothing, also when every probe hangs.
//! - A failing dependency never changes [`Health::live`], and changes [`Health::ready`] only where
//!   its check says [`gates_readiness`](Check::gates_readiness).
//! - The state of a check is that of its first result; later it changes only after
//!   [`fail_after`](Options::fail_after) worse or [`pass_after`](Options::pass_after) better results
//!   in a row. A result older than three intervals makes a healthy check degraded (“unknown”).
//! - [`HealthTasks`] owns all tasks: dropping or stopping it ends them.
//!
//! # Not promised
//! - That a healthy report is true now: it is as old as its `age` says.
//! - That an async probe which blocks its thread can be stopped; use [`Check::blocking`].
//! - That liveness notices a single blocked worker thread of a runtime that has others.
//!
//! # Defaults
//! Timeout 5 s, interval 30 s ± 10 %, three failures, two passes, liveness lost after 10 s without
//! a turn of the event loop. Checks are neither critical nor do they gate readiness.
//!
//! # Metrics
//! None of its own, as rooms do not know each other: [`Health::subscribe`] and [`Health::report`]
//! give the host what it exports. Each change of a state is logged once.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use mainstay_core::health::{Check, Health, Identity, Options, Status};
//! use tokio_util::sync::CancellationToken;
//!
//! let health = Health::new(Options::default(), Identity::default());
//! health.register(Check::new("database", || async { Err::<(), _>("connection refused") }).critical())?;
//! let tasks = health.start(&CancellationToken::new());
//!
//! let mut status = health.subscribe();
//! status.wait_for(|status| *status == Status::Unhealthy).await.expect("the handle lives");
//! assert_eq!(health.report().checks["database"].message.as_deref(), Some("connection refused"));
//! assert!(health.live().alive, "a dead dependency is no reason to restart");
//! tasks.stop(std::time::Duration::from_secs(1)).await.expect("nothing blocks");
//! # Ok::<(), mainstay_core::health::Error>(()) }).unwrap();
//! ```

mod check;
pub mod checks;
mod entry;
mod error;
mod hysteresis;
mod live;
mod message;
mod options;
mod report;
mod status;
mod tasks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use check::{Check, Observation};
pub use error::Error;
pub use live::{Liveness, Readiness};
pub use options::Options;
pub use report::{CheckReport, Identity, Report};
pub use status::Status;
pub use tasks::HealthTasks;

use entry::Entry;
use live::{Beat, millis};

/// The health of one application. Clones share it.
#[derive(Clone)]
pub struct Health {
    core: Arc<Core>,
}

type Checks = Arc<BTreeMap<String, Arc<Entry>>>;

/// Shared by the handles and the tasks. Each `watch` is a snapshot to read and a bell to wait for.
struct Core {
    identity: Identity,
    created: Instant,
    beat: Beat,
    started: AtomicBool,
    draining: AtomicBool,
    options: watch::Sender<Arc<Options>>,
    checks: watch::Sender<Checks>,
    overall: watch::Sender<Status>,
}

impl Health {
    /// A service that has not started yet, without checks.
    #[must_use]
    pub fn new(options: Options, identity: Identity) -> Self {
        let created = Instant::now();
        let core = Core {
            identity,
            created,
            beat: Beat::new(created),
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            options: watch::Sender::new(Arc::new(options)),
            checks: watch::Sender::default(),
            overall: watch::Sender::new(Status::Healthy),
        };
        Self { core: Arc::new(core) }
    }

    /// Adds a check, before or after [`start`](Self::start). Its first run starts at once when the
    /// probes run; until it ends the check is degraded (“unknown”).
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::Duplicate`].
    pub fn register(&self, check: Check) -> Result<(), Error> {
        check.validate()?;
        let name = check.name.clone();
        let entry = Arc::new(Entry::new(check));
        let added = self.core.checks.send_if_modified(|checks| {
            let free = !checks.contains_key(&name);
            if free {
                Arc::make_mut(checks).insert(name.clone(), entry);
            }
            free
        });
        if !added {
            return Err(Error::Duplicate { name });
        }
        self.core.publish();
        Ok(())
    }

    /// Removes a check and ends its task; a run in flight is dropped. Says whether there was one.
    pub fn deregister(&self, name: &str) -> bool {
        let mut removed = None;
        self.core.checks.send_if_modified(|checks| {
            if checks.contains_key(name) {
                removed = Arc::make_mut(checks).remove(name);
            }
            removed.is_some()
        });
        let Some(entry) = removed else { return false };
        entry.removed.cancel();
        self.core.publish();
        true
    }

    /// Replaces the options. Pauses in progress follow the new interval, the next runs the rest.
    pub fn update_options(&self, options: Options) {
        self.core.options.send_replace(Arc::new(options));
        self.core.publish();
    }

    /// Starts the probes and the beat of the event loop. They end when the returned owner is
    /// stopped or dropped, or when `parent` is cancelled.
    ///
    /// Starting again is allowed, also while an earlier owner lives: a check is then still probed
    /// by one task at a time.
    ///
    /// # Panics
    /// Outside a tokio runtime, as every spawn does.
    pub fn start(&self, parent: &CancellationToken) -> HealthTasks {
        HealthTasks::start(&self.core, parent)
    }

    /// Whether the process works: not [poisoned](Self::poison), and its event loop turned within
    /// the last 10 s (not judged before [`start`](Self::start) and after the probes were stopped).
    ///
    /// Touches no dependency and takes no lock.
    #[must_use]
    pub fn live(&self) -> Liveness {
        let reason = self.core.beat.dead(Instant::now());
        Liveness {
            alive: reason.is_none(),
            reason,
            timestamp: Timestamp::now().as_millisecond(),
            uptime: self.core.uptime(),
        }
    }

    /// Whether the instance should get requests: started, not draining, and no check that gates
    /// readiness has failed (or, within the startup grace, is still without its first result).
    #[must_use]
    pub fn ready(&self) -> Readiness {
        let mut failed_checks = Vec::new();
        if !self.core.started.load(Ordering::Acquire) {
            failed_checks.push("starting".into());
        }
        if self.core.draining.load(Ordering::Acquire) {
            failed_checks.push("draining".into());
        }
        let (checks, options) = self.core.snapshot();
        let closed = checks.iter().filter(|(_, entry)| entry.closes_the_gate(&options));
        failed_checks.extend(closed.map(|(name, _)| name.clone()));
        Readiness { ready: failed_checks.is_empty(), failed_checks }
    }

    /// State of everything, from the stored results.
    #[must_use]
    pub fn report(&self) -> Report {
        let (checks, options) = self.core.snapshot();
        Report {
            status: worst(checks.values(), &options),
            timestamp: Timestamp::now().as_millisecond(),
            uptime: self.core.uptime(),
            version: self.core.identity.version.clone(),
            checks: checks.iter().map(|(name, entry)| (name.clone(), entry.report(&options))).collect(),
            metadata: self.core.identity.clone(),
        }
    }

    /// The overall status and its changes, for metrics and alarms.
    ///
    /// Unlike in the report, a check without a result does not count during the startup grace: an
    /// application that starts well announces nothing. That a result got too old is announced
    /// within a second.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.core.overall.subscribe()
    }

    /// Migrations, warm-up and configuration are done (or, with `false`, to do again).
    pub fn set_started(&self, started: bool) {
        self.core.started.store(started, Ordering::Release);
    }

    /// Shutdown has begun: not ready from now on, for good.
    pub fn set_draining(&self) {
        self.core.draining.store(true, Ordering::Release);
    }

    /// The process is beyond repair and should be restarted: not live from now on, for good.
    pub fn poison(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::error!(reason, "the process declared itself dead");
        self.core.beat.poison(reason);
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("status", &*self.core.overall.borrow()).finish_non_exhaustive()
    }
}

impl Core {
    fn snapshot(&self) -> (Checks, Arc<Options>) {
        (self.checks.borrow().clone(), self.options.borrow().clone())
    }

    fn uptime(&self) -> u64 {
        millis(self.created.elapsed())
    }

    /// Tells subscribers and the log about a changed overall status, once.
    fn publish(&self) {
        let mut change = None;
        self.overall.send_if_modified(|status| {
            // Read and decided under the lock of the channel, so that no result overtakes another.
            let (checks, options) = self.snapshot();
            let known = checks.values().filter(|entry| !entry.is_starting(&options));
            let before = std::mem::replace(status, worst(known, &options));
            change = (before != *status).then_some((before, *status));
            change.is_some()
        });
        if let Some((before, status)) = change {
            tracing::info!(status = status.as_str(), before = before.as_str(), "health status changed");
        }
    }
}

fn worst<'a>(checks: impl Iterator<Item = &'a Arc<Entry>>, options: &Options) -> Status {
    checks.map(|entry| entry.effect(options)).max().unwrap_or(Status::Healthy)
}
