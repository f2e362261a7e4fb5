//! What the locks count, as handles made once.

use crate::metrics::{Counter, Gauge, Histogram, Metrics, Unit};

use super::Error;

const WAITS: [f64; 12] = [0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const HOLDS: [f64; 10] = [0.000_1, 0.001, 0.01, 0.1, 0.5, 1.0, 10.0, 60.0, 600.0, 3_600.0];

#[derive(Debug)]
pub(super) struct Meters {
    acquired: Counter,
    contended: Counter,
    unavailable: Counter,
    unknown: Counter,
    pub(super) wait: Histogram,
    pub(super) hold: Histogram,
    pub(super) held: Gauge,
    pub(super) waiters: Gauge,
    pub(super) leading: Gauge,
    pub(super) elected: Counter,
    pub(super) lost: Counter,
    pub(super) renewed: Counter,
    pub(super) renewals_lost: Counter,
    pub(super) renewals_failed: Counter,
}

impl Meters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let acquisitions = "lock_acquisitions_total";
        let renewals = "lock_renewals_total";
        metrics.describe_counter(acquisitions, Unit::None, "Locks asked for, by how it ended.");
        metrics.describe_counter(renewals, Unit::None, "Renewals of held locks, by how they ended.");
        metrics.describe_counter("lock_lost_total", Unit::None, "Locks lost while a guard held them.");
        metrics.describe_gauge("lock_held", Unit::None, "Guards that hold a lock.");
        metrics.describe_gauge("lock_waiters", Unit::None, "Tasks in line for a lock.");
        metrics.describe_gauge("lock_leaderships", Unit::None, "Elections that this process leads.");
        metrics.describe_counter("lock_elections_won_total", Unit::None, "Elections that this process won.");
        let wait = "lock_wait_duration_seconds";
        metrics.describe_histogram(wait, Unit::Seconds, "From asking for a lock to having it.", &WAITS);
        let hold = "lock_hold_duration_seconds";
        metrics.describe_histogram(hold, Unit::Seconds, "From having a lock to its guard's end.", &HOLDS);
        let acquisition = |result| metrics.counter(acquisitions).with(&[("result", result)]);
        let renewal = |result| metrics.counter(renewals).with(&[("result", result)]);
        Self {
            acquired: acquisition("acquired"),
            contended: acquisition("contended"),
            unavailable: acquisition("unavailable"),
            unknown: acquisition("unknown"),
            wait: metrics.histogram(wait).with(&[]),
            hold: metrics.histogram(hold).with(&[]),
            held: metrics.gauge("lock_held").with(&[]),
            waiters: metrics.gauge("lock_waiters").with(&[]),
            leading: metrics.gauge("lock_leaderships").with(&[]),
            elected: metrics.counter("lock_elections_won_total").with(&[]),
            lost: metrics.counter("lock_lost_total").with(&[]),
            renewed: renewal("renewed"),
            renewals_lost: renewal("lost"),
            renewals_failed: renewal("failed"),
        }
    }

    /// Counts how asking ended. Refused input and a stopped handle are no acquisitions.
    pub(super) fn ended<T>(&self, result: &Result<T, Error>) {
        match result {
            Ok(_) => self.acquired.increment(1),
            Err(Error::Contended { .. }) => self.contended.increment(1),
            Err(Error::Unavailable(_)) => self.unavailable.increment(1),
            Err(Error::Unknown(_)) => self.unknown.increment(1),
            Err(Error::Key(_) | Error::Option { .. } | Error::Stopped) => {}
        }
    }
}
