//! What a sealer counts, as handles made once.

use mainstay_core::metrics::{Counter, Metrics, Unit};

const OPERATIONS: &str = "seal_operations_total";

#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) sealed: Counter,
    pub(super) failed: Counter,
    pub(super) opened: Counter,
    pub(super) refused: Counter,
    pub(super) unknown_key: Counter,
}

impl Instruments {
    pub(super) fn new(metrics: &Metrics) -> Self {
        metrics.describe_counter(
            OPERATIONS,
            Unit::None,
            "Values sealed and opened, by operation and result.",
        );
        let counter = |operation, result| {
            metrics.counter(OPERATIONS).with(&[("operation", operation), ("result", result)])
        };
        Self {
            sealed: counter("seal", "done"),
            failed: counter("seal", "failed"),
            opened: counter("open", "done"),
            refused: counter("open", "refused"),
            unknown_key: counter("open", "unknown_key"),
        }
    }
}
