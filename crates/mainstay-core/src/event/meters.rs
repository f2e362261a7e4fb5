//! The metrics of events, with their handles kept.

use std::sync::{Arc, Weak};
use std::time::Duration;

use quick_cache::sync::Cache;

use super::Kind;
use super::sampler::{LastStats, Sampler};
use super::store::{QueueStats, Verdict};
use crate::metrics::{Counter, Histogram, Metrics, Sink, Unit};

/// Types whose handles are kept. A service has dozens; a name that came from input must not fill the memory.
const KEPT_TYPES: usize = 1_024;

/// A type that was published before: its checked name and its counter.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) kind: Kind,
    pub(super) published: Counter,
}

/// What is counted per type.
#[derive(Debug)]
pub(super) struct Meters {
    metrics: Metrics,
    known: Cache<Kind, Known>,
}

impl Meters {
    pub(super) fn new(metrics: &Metrics, sampler: &Arc<Sampler>) -> Self {
        describe(metrics);
        let sampler = Arc::downgrade(sampler);
        metrics.collect(move |sink| collect(&sampler, sink));
        Self { metrics: metrics.clone(), known: Cache::new(KEPT_TYPES) }
    }

    /// Checks the name of a type only when it is new.
    pub(super) fn known(&self, kind: &str) -> Result<Known, super::InvalidName> {
        if let Some(known) = self.known.get(kind) {
            return Ok(known);
        }
        let kind = Kind::new(kind)?;
        let published = self.metrics.counter("events_published_total").with(&[("type", kind.as_str())]);
        let known = Known { kind, published };
        self.known.insert(known.kind.clone(), known.clone());
        Ok(known)
    }

    pub(super) fn of_group(&self, group: &str) -> GroupMeters {
        GroupMeters {
            metrics: self.metrics.clone(),
            group: group.into(),
            redelivered: self.metrics.counter("events_redelivered_total").with(&[("group", group)]),
            handled: Cache::new(KEPT_TYPES),
        }
    }
}

/// What is counted per group.
#[derive(Debug)]
pub(super) struct GroupMeters {
    metrics: Metrics,
    group: Box<str>,
    pub(super) redelivered: Counter,
    handled: Cache<Kind, Arc<Handled>>,
}

/// What is counted per group and type.
#[derive(Debug)]
pub(super) struct Handled {
    done: Counter,
    retried: Counter,
    dead: Counter,
    duration: Histogram,
}

impl GroupMeters {
    pub(super) fn of(&self, kind: &Kind) -> Arc<Handled> {
        if let Some(handled) = self.handled.get(kind) {
            return handled;
        }
        let labels = [("type", kind.as_str()), ("group", &*self.group)];
        let result = |result| {
            let labels = [labels[0], labels[1], ("result", result)];
            self.metrics.counter("events_handled_total").with(&labels)
        };
        let duration = self.metrics.histogram("events_handler_duration_seconds").with(&labels);
        let (done, retried, dead) = (result("done"), result("retried"), result("dead"));
        let handled = Arc::new(Handled { done, retried, dead, duration });
        self.handled.insert(kind.clone(), Arc::clone(&handled));
        handled
    }
}

impl Handled {
    pub(super) fn took(&self, time: Duration) {
        self.duration.record(time.as_secs_f64());
    }

    /// Counts a delivery whose verdict the store has taken.
    pub(super) fn ended(&self, verdict: &Verdict, attempts: u32) {
        match verdict {
            Verdict::Done => self.done.increment(1),
            Verdict::Retry { .. } => self.retried.increment(1),
            Verdict::Dead { cause } => {
                self.dead.increment(1);
                tracing::warn!(cause, attempts, "event went to the dead letters");
            }
        }
    }
}

fn describe(metrics: &Metrics) {
    let counter = |name, help| metrics.describe_counter(name, Unit::None, help);
    counter("events_published_total", "Events the store accepted.");
    counter("events_handled_total", "Deliveries that ended, by what became of them.");
    counter("events_redelivered_total", "Deliveries of events that had been delivered before.");
    counter("events_dead_letters_dropped_total", "Dead letters dropped because there were too many.");
    let gauge = |name, help| metrics.describe_gauge(name, Unit::None, help);
    gauge("events_queue_length", "Events that wait for a consumer or for their next attempt.");
    gauge("events_delayed", "Events that wait for their next attempt.");
    gauge("events_pending", "Events that are being handled.");
    gauge("events_dead_letters", "Dead letters.");
    let help = "Age of the oldest event that is neither done nor dead.";
    metrics.describe_gauge("events_oldest_age_seconds", Unit::Seconds, help);
    let help = "Time a handler took, whatever came of it.";
    metrics.describe_histogram("events_handler_duration_seconds", Unit::Seconds, help, &[]);
}

/// Without a question to a server: a render does not wait.
fn collect(sampler: &Weak<Sampler>, sink: &mut Sink<'_>) {
    let latest = sampler.upgrade().and_then(|sampler| sampler.latest());
    let Some(LastStats { mut queues, .. }) = latest else { return };
    queues.sort_by(|a, b| a.queue.group.cmp(&b.queue.group));
    for queues in queues.chunk_by(|a, b| a.queue.group == b.queue.group) {
        let labels = [("group", &*queues[0].queue.group)];
        let sum = |of: fn(&QueueStats) -> usize| queues.iter().map(of).sum::<usize>() as f64;
        sink.gauge("events_queue_length", &labels, sum(|queue| queue.queued + queue.delayed));
        sink.gauge("events_delayed", &labels, sum(|queue| queue.delayed));
        sink.gauge("events_pending", &labels, sum(|queue| queue.pending));
        sink.gauge("events_dead_letters", &labels, sum(|queue| queue.dead));
        let oldest = queues.iter().filter_map(|queue| queue.oldest).max().unwrap_or_default();
        sink.gauge("events_oldest_age_seconds", &labels, oldest.as_secs_f64());
        let dropped = queues.iter().map(|queue| queue.dead_dropped).sum::<u64>() as f64;
        sink.counter("events_dead_letters_dropped_total", &labels, dropped);
    }
}
