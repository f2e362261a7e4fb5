use std::sync::Arc;

use mainstay_core::config::{self, Config};
use mainstay_core::health::Health;
use mainstay_core::metrics::Metrics;
use mainstay_core::task::TaskGroup;
use mainstay_core::telemetry::Telemetry;
use mainstay_http::Host;

use super::{allow_files, limits, options};

/// Starts the tasks that watch the files and carry changed settings to the rooms, and the upkeep of the metrics.
pub(crate) fn follow_settings(
    tasks: &TaskGroup,
    config: &Config,
    telemetry: Option<Telemetry>,
    health: &Health,
    metrics: &Metrics,
) {
    tasks.spawn("config files", config.clone().watch_files(tasks.token()));

    if let Some(telemetry) = telemetry {
        let mut changes = config.watch::<config::Log>();
        tasks.spawn_until_cancelled("log settings", async move {
            while let Some(log) = changes.changed().await {
                if let Err(error) = super::telemetry::apply(&telemetry, &log) {
                    tracing::error!(%error, "log settings not applied");
                }
            }
        });
    }

    let (mut changes, health) = (config.watch::<config::Health>(), health.clone());
    tasks.spawn_until_cancelled("health options", async move {
        while let Some(settings) = changes.changed().await {
            health.update_options(options(&settings));
        }
    });

    let (metrics, source) = (metrics.clone(), config.clone());
    tasks.spawn_until_cancelled("metrics upkeep", async move {
        loop {
            tokio::time::sleep(source.get::<config::Metrics>().collect_interval).await;
            metrics.upkeep();
        }
    });
}

/// Carries changed limits to the HTTP host.
pub(crate) fn follow_limits(tasks: &TaskGroup, config: &Config, host: &Arc<Host>) {
    let (mut server, mut proxies) = (config.watch::<config::Server>(), config.watch::<config::RateLimit>());
    let (config, host) = (config.clone(), Arc::clone(host));
    let apply = move || {
        let limits = limits(&config);
        allow_files(&limits);
        host.update(limits);
    };
    // What changed since the host was made, while components started, is told to nobody.
    apply();
    tasks.spawn_until_cancelled("http limits", async move {
        loop {
            let changed = tokio::select! {
                changed = server.changed() => changed.is_some(),
                changed = proxies.changed() => changed.is_some(),
            };
            if !changed {
                return;
            }
            apply();
        }
    });
}
