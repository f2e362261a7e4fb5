use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Core;
use super::entry::Entry;
use crate::task::{Overrun, TaskGroup};

/// How often the event loop proves that it turns, and how late the overall status may notice that a
/// result got too old.
const BEAT: Duration = Duration::from_secs(1);

/// Owns the background probes of a [`Health`](super::Health). Dropping it ends them.
#[derive(Debug)]
#[must_use = "dropping it ends the background probes"]
pub struct HealthTasks {
    group: Arc<TaskGroup>,
}

impl HealthTasks {
    pub(super) fn start(core: &Arc<Core>, parent: &CancellationToken) -> Self {
        let group = Arc::new(TaskGroup::child_of(parent));
        group.spawn("health-beat", beat(Arc::clone(core), group.token()));
        group.spawn("health-supervisor", supervise(Arc::clone(core), Arc::downgrade(&group), group.token()));
        Self { group }
    }

    /// Ends the probes and waits for them; a probe in flight is dropped, a blocking one is left to
    /// its thread.
    ///
    /// # Errors
    /// [`Overrun`] when a task did not end in time, which takes a probe that blocks the runtime.
    pub async fn stop(self, deadline: Duration) -> Result<(), Overrun> {
        self.group.stop(deadline).await
    }
}

/// Marks the beat; tells [`Health::live`](super::Health::live) when it ends on purpose.
async fn beat(core: Arc<Core>, stopped: CancellationToken) {
    while !stopped.is_cancelled() {
        core.beat.mark(Instant::now());
        core.publish();
        // A timeout here is the normal case: the beat goes on until it is stopped.
        let _ = tokio::time::timeout(BEAT, stopped.cancelled()).await;
    }
    core.beat.rest();
}

/// Starts one task for each check, those registered later included.
async fn supervise(core: Arc<Core>, group: Weak<TaskGroup>, stopped: CancellationToken) {
    let mut checks = core.checks.subscribe();
    let mut known: Vec<Arc<Entry>> = Vec::new();
    loop {
        let current = checks.borrow_and_update().clone();
        known.retain(|entry| !entry.removed.is_cancelled());
        for entry in current.values() {
            // Upgraded for a moment only: the owner alone keeps the group alive.
            let Some(group) = group.upgrade() else { return };
            if !known.iter().any(|known| Arc::ptr_eq(known, entry)) {
                known.push(Arc::clone(entry));
                group.spawn("health-check", watch(Arc::clone(&core), Arc::clone(entry), group.token()));
            }
        }
        tokio::select! {
            () = stopped.cancelled() => return,
            changed = checks.changed() => if changed.is_err() { return },
        }
    }
}

/// Probes one check until it is removed or the owner stops.
async fn watch(core: Arc<Core>, entry: Arc<Entry>, stopped: CancellationToken) {
    tokio::select! {
        biased;
        () = stopped.cancelled() => {}
        () = entry.removed.cancelled() => {}
        () = probe_for_ever(&core, &entry) => {}
    }
}

async fn probe_for_ever(core: &Core, entry: &Entry) {
    let mut hysteresis = entry.turn.lock().await;
    let mut changes = core.options.subscribe();
    loop {
        let options = changes.borrow_and_update().clone();
        entry.run(&mut hysteresis, &options).await;
        core.publish();

        let ended = Instant::now();
        loop {
            let options = changes.borrow_and_update().clone();
            let pause = options.pause(entry.interval(&options)).saturating_sub(ended.elapsed());
            // New options take effect on the pause in progress.
            tokio::select! {
                () = tokio::time::sleep(pause) => break,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }
}
