use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_core::metrics::{Counter, Metrics, Unit};
use opentelemetry_otlp::{ExporterBuildError, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor,
};
use tokio::runtime::Handle;

use super::CAPACITY;
use super::client::Client;

/// Ended spans on their way to the exporter's thread, which takes them in batches.
///
/// The batch processor has the same limit but tells nobody how much it dropped; so spans are turned
/// away here.
#[derive(Debug)]
pub(super) struct Queue {
    processor: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
}

impl Queue {
    pub(super) fn start(
        endpoint: &str,
        timeout: Duration,
        resource: &Resource,
        metrics: &Metrics,
    ) -> Result<Self, ExporterBuildError> {
        const DROPPED: &str = "otlp_spans_dropped_total";
        metrics.describe_counter(DROPPED, Unit::None, "Spans that were not exported.");
        let dropped = |reason| metrics.counter(DROPPED).with(&[("reason", reason)]);

        let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let otlp = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Client { runtime: Handle::current(), timeout })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&endpoint)
            .with_timeout(timeout)
            .build()?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let exporter = Watched {
            otlp,
            endpoint,
            waiting: Arc::clone(&waiting),
            lost: dropped("export_failed"),
            failing: AtomicBool::new(false),
        };
        let batches = BatchConfigBuilder::default().with_max_queue_size(CAPACITY).build();
        let mut processor = BatchSpanProcessor::new(exporter, batches);
        processor.set_resource(resource);
        Ok(Self { processor, waiting, dropped: dropped("queue_full") })
    }

    /// Never waits.
    pub(super) fn push(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < CAPACITY {
            self.processor.on_end(span);
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped.increment(1);
        }
    }

    /// Sends what waits, and ends the thread. Blocks for at most `deadline`; a request under way ends
    /// by its own time limit.
    pub(super) fn stop(&self, deadline: Duration) {
        if let Err(error) = self.processor.shutdown_with_timeout(deadline) {
            tracing::warn!(%error, "the last spans may not have been exported");
        }
    }
}

/// The exporter, with an eye on how it fares.
#[derive(Debug)]
struct Watched {
    otlp: opentelemetry_otlp::SpanExporter,
    endpoint: String,
    waiting: Arc<AtomicUsize>,
    lost: Counter,
    failing: AtomicBool,
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        let exported = self.otlp.export(batch).await;
        let endpoint = &self.endpoint;
        match &exported {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => {
                tracing::info!(endpoint, "traces are exported again");
            }
            Ok(()) => {}
            Err(error) => {
                self.lost.increment(spans as u64);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(endpoint, %error, "traces are not exported");
                }
            }
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}
