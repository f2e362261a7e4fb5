use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Mode, State};

/// A change of state or mode, as told to [`Breaker::on_change`](super::Breaker::on_change).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The breaker's name.
    pub name: Arc<str>,
    /// The state before.
    pub from: State,
    /// The state after; the same if only the mode changed.
    pub to: State,
    /// The mode after.
    pub mode: Mode,
    /// Grows with every change of state: puts in order what two threads tell at the same time.
    pub generation: u64,
    /// Why.
    pub reason: Reason,
    /// When, by the calendar.
    pub at: Timestamp,
}

/// Why a breaker changed. `Display` is a sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Too many calls of the window failed.
    FailureRate {
        /// Failures in the window.
        failures: u64,
        /// Calls in the window.
        calls: u64,
    },
    /// Too many calls of the window were slow.
    SlowRate {
        /// Slow calls in the window.
        slow: u64,
        /// Calls in the window.
        calls: u64,
    },
    /// So many calls in a row failed.
    Consecutive(u32),
    /// The dependency asked not to be called for this long.
    Asked(Duration),
    /// Probes failed or were lost, too many for the rest to close it.
    ProbesFailed {
        /// Probes that failed.
        failures: u32,
        /// Probes that ended.
        probes: u32,
    },
    /// Probes succeeded, but too many of them were slow.
    ProbesSlow {
        /// Probes that were slow.
        slow: u32,
        /// Probes that ended.
        probes: u32,
    },
    /// The open time is over.
    TimeOver,
    /// So many probes succeeded.
    ProbesSucceeded(u32),
    /// An operator chose this mode.
    Forced(Mode),
    /// An operator reset it.
    Reset,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailureRate { failures, calls } => write!(f, "{failures} of {calls} calls failed"),
            Self::SlowRate { slow, calls } => write!(f, "{slow} of {calls} calls were slow"),
            Self::Consecutive(calls) => write!(f, "{calls} calls in a row failed"),
            Self::Asked(time) => write!(f, "asked to wait for {time:?}"),
            Self::ProbesFailed { failures, probes } => write!(f, "{failures} of {probes} probes failed"),
            Self::ProbesSlow { slow, probes } => write!(f, "{slow} of {probes} probes were slow"),
            Self::TimeOver => f.write_str("open time is over"),
            Self::ProbesSucceeded(probes) => write!(f, "{probes} probes succeeded"),
            Self::Forced(mode) => write!(f, "set to {mode} by hand"),
            Self::Reset => f.write_str("reset by hand"),
        }
    }
}
