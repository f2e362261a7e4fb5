//! Stands in for the export of traces in a build without the feature `otlp`.

use mainstay_core::config::{self, Config};
use mainstay_core::lifecycle::Lifecycle;
use mainstay_core::metrics::Metrics;
use mainstay_core::telemetry::ExtraLayer;
use mainstay_core::telemetry::trace_context::Sampling;

use crate::StartError;

/// There is none.
pub(crate) enum Traces {}

pub(crate) fn section(config: config::Builder) -> config::Builder {
    config
}

pub(crate) fn sampling(_: &Config) -> Sampling {
    Sampling::NONE
}

impl Traces {
    pub(crate) fn start(_: &Config, _: &'static str, _: &Metrics) -> Result<Option<Self>, StartError> {
        Ok(None)
    }

    pub(crate) fn layer(&self) -> ExtraLayer {
        match *self {}
    }

    pub(crate) fn flush_at_the_end(self, _: &Lifecycle) {
        match self {}
    }
}
