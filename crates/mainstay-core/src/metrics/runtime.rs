//! What tokio's stable interface knows of a runtime.

use tokio::runtime::Handle;

use super::{Metrics, Unit};

/// Adds the metrics of one runtime; they are read at each render.
///
/// `tokio_workers`, `tokio_alive_tasks`, `tokio_global_queue_depth`,
/// `tokio_worker_busy_seconds_total{worker}`, `tokio_worker_parks_total{worker}`. A global queue that
/// stays deep, or a worker that is busy all the time, is an overloaded or blocked runtime.
pub fn install(metrics: &Metrics, runtime: Handle) {
    metrics.describe_gauge("tokio_workers", Unit::None, "Worker threads of the runtime.");
    metrics.describe_gauge("tokio_alive_tasks", Unit::None, "Tasks spawned and not ended.");
    metrics.describe_gauge("tokio_global_queue_depth", Unit::None, "Tasks waiting in the shared queue.");
    metrics.describe_counter(
        "tokio_worker_busy_seconds_total",
        Unit::Seconds,
        "Time a worker was not parked.",
    );
    metrics.describe_counter("tokio_worker_parks_total", Unit::None, "Times a worker went to sleep.");
    metrics.collect(move |sink| {
        let runtime = runtime.metrics();
        sink.gauge("tokio_workers", &[], runtime.num_workers() as f64);
        sink.gauge("tokio_alive_tasks", &[], runtime.num_alive_tasks() as f64);
        sink.gauge("tokio_global_queue_depth", &[], runtime.global_queue_depth() as f64);
        #[cfg(target_has_atomic = "64")]
        for worker in 0..runtime.num_workers() {
            let label = worker.to_string();
            let labels = [("worker", label.as_str())];
            let busy = runtime.worker_total_busy_duration(worker).as_secs_f64();
            sink.counter("tokio_worker_busy_seconds_total", &labels, busy);
            sink.counter("tokio_worker_parks_total", &labels, runtime.worker_park_count(worker) as f64);
        }
    });
}
