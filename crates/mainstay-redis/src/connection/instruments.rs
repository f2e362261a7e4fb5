//! What the connections count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mainstay_core::metrics::{Counter, Histogram, Metrics, Unit};

use super::link::Link;
use crate::{Answer, CallError, Class};

const COMMANDS: &str = "redis_commands_total";
const DURATION: &str = "redis_command_duration_seconds";
const CONNECTIONS: &str = "redis_connections";
const CONNECTS: &str = "redis_connects_total";
const OPEN: &str = "redis_guard_open";
const IN_FLIGHT: &str = "redis_in_flight";
/// From a round trip in one machine to the longest deadline that makes sense.
const BUCKETS: [f64; 12] =
    [50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 25e-3, 100e-3, 400e-3, 1.0];

pub(crate) struct Instruments {
    /// By class.
    commands: [Results; 3],
    duration: Histogram,
    pub(crate) connected: Counter,
    pub(crate) refused: Counter,
    pub(crate) lost: Counter,
    links: Arc<Mutex<Vec<Weak<Link>>>>,
}

struct Results {
    ok: Counter,
    not_sent: Counter,
    rejected: Counter,
    unknown: Counter,
}

impl Instruments {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        metrics.describe_counter(COMMANDS, Unit::None, "Commands to Redis, by class and result.");
        metrics.describe_histogram(
            DURATION,
            Unit::Seconds,
            "Time to the answer of Redis, of commands that were sent.",
            &BUCKETS,
        );
        metrics.describe_gauge(CONNECTIONS, Unit::None, "Connections to Redis that can carry commands.");
        metrics.describe_counter(CONNECTS, Unit::None, "Connections to Redis that were made, refused, lost.");
        metrics.describe_gauge(OPEN, Unit::None, "Redis servers that calls fail at once for.");
        metrics.describe_gauge(IN_FLIGHT, Unit::None, "Commands that Redis has not answered yet.");
        let links: Arc<Mutex<Vec<Weak<Link>>>> = Arc::default();
        let watched = Arc::clone(&links);
        metrics.collect(move |sink| {
            let links: Vec<_> = list(&watched).iter().filter_map(Weak::upgrade).collect();
            let count = |which: fn(&Link) -> bool| links.iter().filter(|link| which(link)).count() as f64;
            sink.gauge(CONNECTIONS, &[], count(Link::is_up));
            sink.gauge(OPEN, &[], count(|link| link.stands_for_server() && link.guard().is_open()));
            sink.gauge(IN_FLIGHT, &[], links.iter().map(|link| link.in_flight()).sum::<usize>() as f64);
        });
        let results = |class| {
            let result = |result| metrics.counter(COMMANDS).with(&[("class", class), ("result", result)]);
            Results {
                ok: result("ok"),
                not_sent: result("not_sent"),
                rejected: result("rejected"),
                unknown: result("unknown"),
            }
        };
        let connects = |result| metrics.counter(CONNECTS).with(&[("result", result)]);
        Self {
            commands: ["read", "idem", "once"].map(results),
            duration: metrics.histogram(DURATION).with(&[]),
            connected: connects("made"),
            refused: connects("refused"),
            lost: connects("lost"),
            links,
        }
    }

    /// Shows this link for as long as it lives.
    pub(crate) fn watch(&self, link: &Arc<Link>) {
        let mut links = list(&self.links);
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(link));
    }

    pub(crate) fn count(&self, class: Class, answer: &Result<Answer, CallError>) {
        let results = &self.commands[class as usize];
        let result = match answer {
            Ok(_) => &results.ok,
            Err(CallError::NotSent { .. }) => &results.not_sent,
            Err(CallError::Rejected { .. }) => &results.rejected,
            Err(CallError::Unknown { .. }) => &results.unknown,
        };
        result.increment(1);
    }

    pub(crate) fn took(&self, time: Duration) {
        self.duration.record_duration(time);
    }
}

fn list(links: &Mutex<Vec<Weak<Link>>>) -> MutexGuard<'_, Vec<Weak<Link>>> {
    links.lock().unwrap_or_else(PoisonError::into_inner)
}
