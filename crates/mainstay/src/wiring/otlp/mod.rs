//! Export of traces to an OpenTelemetry collector, by OTLP in protobuf over HTTP.
//!
//! # Promise
//! - A request is one span of kind `server`: the trace, the id and the parent are those of
//!   `traceparent` and of the log, and the id is the one that outbound calls pass on. Spans inside the
//!   request are its children.
//! - The export never slows a request down or fails one. At most [`CAPACITY`] ended spans wait; what
//!   comes on top is dropped and counted. A collector that does not answer is one line in the log when
//!   that begins and one when it ends.
//! - A shutdown sends what waits, for at most [`FLUSH`].
//! - The export is not traced: a trace begins at a span with the field `otel.traceparent`, and the
//!   exporter has none.
//!
//! # Not promised
//! - That every span arrives. A batch that the collector refuses, or does not take within
//!   `OTEL_EXPORTER_OTLP_TIMEOUT` and three retries, is lost.
//! - Log lines in the trace. They carry its id, which is enough to find them.
//! - A second app in a process exports nothing of its own: spans, like lines, go to the first one's.
//!
//! # Defaults
//! No endpoint, so no export. See [`Otlp`]. The libraries below read some further standard variables
//! themselves: `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_SCHEDULE_DELAY`.
//!
//! # Metrics
//! `otlp_spans_dropped_total{reason}`: `queue_full`, `export_failed`.
//!
//! The layer is our own because `tracing-opentelemetry` invents the ids of spans: the collector would
//! never see the id under which the services we call report to it.

mod client;
mod export;
mod layer;
mod section;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::config::{self, Config, Identity, Server};
use mainstay_core::lifecycle::{Lifecycle, Step};
use mainstay_core::metrics::Metrics;
use mainstay_core::telemetry::ExtraLayer;
use mainstay_core::telemetry::trace_context::Sampling;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;

use crate::StartError;
use export::Queue;
use layer::SpanLayer;
use section::Otlp;

/// Ended spans that may wait, the default of OpenTelemetry.
const CAPACITY: usize = 2048;

/// For the last spans, when the process ends.
const FLUSH: Duration = Duration::from_secs(2);

/// Adds `[otlp]` to the configuration.
pub(crate) fn section(config: config::Builder) -> config::Builder {
    config.section::<Otlp>()
}

/// Which of the traces that begin here are recorded. None if nobody would collect them.
pub(crate) fn sampling(config: &Config) -> Sampling {
    let otlp = config.get::<Otlp>();
    if otlp.endpoint.is_some() { otlp.sampling() } else { Sampling::NONE }
}

/// The running export. Dropping it and its layer ends it without a flush.
pub(crate) struct Traces {
    queue: Arc<Queue>,
    scope: InstrumentationScope,
}

impl Traces {
    /// `None` without an endpoint. Must be called on the runtime, which does the sending.
    pub(crate) fn start(
        config: &Config,
        version: &'static str,
        metrics: &Metrics,
    ) -> Result<Option<Self>, StartError> {
        let otlp = config.get::<Otlp>();
        let Some(endpoint) = &otlp.endpoint else { return Ok(None) };
        let queue = Queue::start(endpoint, otlp.timeout, &resource(config, version), metrics)
            .map_err(|error| StartError::Traces(error.into()))?;
        let scope =
            InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION"));
        Ok(Some(Self { queue: Arc::new(queue), scope: scope.build() }))
    }

    /// Hands ended spans to the export.
    pub(crate) fn layer(&self) -> ExtraLayer {
        Box::new(SpanLayer::new(Arc::clone(&self.queue), self.scope.clone()))
    }

    /// Leaves the flush to the shutdown.
    pub(crate) fn flush_at_the_end(self, lifecycle: &Lifecycle) {
        // Longer than the flush itself, which reports what it left behind.
        lifecycle.on(Step::Flush, "traces", FLUSH + Duration::from_secs(1), async move || {
            let flushed = tokio::task::spawn_blocking(move || self.queue.stop(FLUSH)).await;
            flushed.expect("the flush does not panic and is not aborted");
            Ok::<_, Infallible>(())
        });
    }
}

/// Whose spans these are.
fn resource(config: &Config, version: &'static str) -> Resource {
    let identity = config.get::<Identity>();
    Resource::builder()
        .with_service_name(identity.service_name.clone())
        .with_attributes([
            KeyValue::new("service.version", version),
            KeyValue::new("service.instance.id", identity.instance_id.clone()),
            KeyValue::new("deployment.environment.name", config.get::<Server>().env.as_str()),
        ])
        .build()
}
