//! Stopping a process so that it has stopped.

use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::eventually;

/// Sends SIGSTOP to a child and returns when all its threads stand still: the signal alone leaves
/// them a moment to answer in.
///
/// # Panics
///
/// If it does not stop, because it has ended.
#[track_caller]
pub(crate) fn freeze(child: Pid) {
    kill_process(child, Signal::STOP).expect("a process that was not waited for can be signalled");
    // Left for others to see, so that freezing twice is freezing once.
    let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    eventually(
        "the process stands still",
        Duration::from_secs(30),
        || matches!(waitid(WaitId::Pid(child), look), Ok(Some(status)) if status.stopped()),
    );
}
