//! What passwords count, as handles made once.

use mainstay_core::metrics::{Counter, Histogram, Metrics, Unit};

use super::{Error, Verdict};

const OPERATIONS: &str = "password_operations_total";
const WAIT: &str = "password_wait_seconds";
const WORK: &str = "password_work_seconds";

const TIMES: [f64; 9] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

const HASHED: [&str; 4] = ["done", "unfit", "busy", "failed"];
const VERIFIED: [&str; 5] = ["right", "wrong", "unreadable", "busy", "failed"];

#[derive(Debug)]
pub(super) struct Instruments {
    hash: [(&'static str, Counter); HASHED.len()],
    verify: [(&'static str, Counter); VERIFIED.len()],
    pub(super) waited: Histogram,
    pub(super) worked: Histogram,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    Hash,
    Verify,
}

impl Instruments {
    pub(super) fn new(metrics: &Metrics) -> Self {
        metrics.describe_counter(
            OPERATIONS,
            Unit::None,
            "Passwords hashed and verified, by operation and result.",
        );
        metrics.describe_histogram(WAIT, Unit::Seconds, "Wait for a place to hash a password.", &TIMES);
        metrics.describe_histogram(WORK, Unit::Seconds, "Time that hashing a password took.", &TIMES);
        let counter = |operation, result| {
            (result, metrics.counter(OPERATIONS).with(&[("operation", operation), ("result", result)]))
        };
        Self {
            hash: HASHED.map(|result| counter("hash", result)),
            verify: VERIFIED.map(|result| counter("verify", result)),
            waited: metrics.histogram(WAIT).with(&[]),
            worked: metrics.histogram(WORK).with(&[]),
        }
    }

    pub(super) fn count(&self, operation: Operation, result: &'static str) {
        let counters: &[_] = match operation {
            Operation::Hash => &self.hash,
            Operation::Verify => &self.verify,
        };
        if let Some((_, counter)) = counters.iter().find(|(name, _)| *name == result) {
            counter.increment(1);
        }
    }
}

pub(super) fn hashed(result: &Result<String, Error>) -> &'static str {
    result.as_ref().map_or_else(refused, |_| "done")
}

pub(super) fn verified(result: &Result<Verdict, Error>) -> &'static str {
    match result {
        Ok(Verdict::Right { .. }) => "right",
        Ok(Verdict::Wrong) => "wrong",
        Err(error) => refused(error),
    }
}

fn refused(error: &Error) -> &'static str {
    match error {
        Error::Busy => "busy",
        Error::Unfit(_) => "unfit",
        Error::Unreadable => "unreadable",
        Error::Failed(_) => "failed",
    }
}
