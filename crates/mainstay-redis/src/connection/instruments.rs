//! What the connections count.

use mainstay_core::metrics::Metrics;

pub(crate) struct Instruments {}

impl Instruments {
    pub(crate) fn new(_metrics: &Metrics) -> Self {
        Self {}
    }
}
