use mainstay_core::health::{Health, Status};
use mainstay_core::metrics::{Metrics, Unit, process, runtime};

/// The registry of an app, with what the process and the runtime say of themselves.
pub(crate) fn metrics() -> Metrics {
    let metrics = Metrics::new();
    process::install(&metrics);
    runtime::install(&metrics, tokio::runtime::Handle::current());
    metrics
}

/// The state of each check as a series, for alerts.
pub(crate) fn export_health(metrics: &Metrics, health: &Health) {
    const UP: &str = "health_check_up";
    metrics.describe_gauge(UP, Unit::None, "1 while the check does not fail.");
    let health = health.clone();
    metrics.collect(move |sink| {
        for (name, check) in health.report().checks {
            let up = if check.status == Status::Unhealthy { 0.0 } else { 1.0 };
            sink.gauge(UP, &[("check", name.as_str())], up);
        }
    });
}
