//! Checks of the machine the process runs on. Databases and HTTP endpoints are checked with
//! [`Check::new`](super::Check::new) by whoever holds the client.

mod disk;
mod event_loop;
mod memory;

pub use disk::{DiskOptions, disk};
pub use event_loop::{EventLoopOptions, event_loop_lag};
pub use memory::{MemoryOptions, memory};

use super::Observation;

/// A share of something that must not fill up, as a percentage with the limits it is judged by.
fn fullness(used: f64, warn: f64, fail: f64, detail: &str) -> Observation {
    let percent = (used * 1000.0).round() / 10.0;
    let seen = Observation::of(percent, "percent");
    let message = format!("{percent} % used: {detail}");
    if used >= fail {
        seen.fail(message)
    } else if used >= warn {
        seen.warn(message)
    } else {
        seen.detail(message)
    }
}
