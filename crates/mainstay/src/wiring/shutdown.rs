use std::time::Duration;

use mainstay_core::config::{Config, Server};
use mainstay_core::container::Container;
use mainstay_core::health::HealthTasks;
use mainstay_core::lifecycle::{Lifecycle, Options, Step};
use mainstay_core::task::TaskGroup;

use super::{Primitives, Storage};

/// For a background task to notice that it is cancelled.
const NOTICE: Duration = Duration::from_secs(5);

pub(crate) fn lifecycle(config: &Config) -> Lifecycle {
    let server = config.get::<Server>();
    Lifecycle::new(
        Options::default().shutdown_timeout(server.shutdown_timeout).drain_delay(server.drain_delay),
    )
}

/// What an app started is handed to its shutdown, which stops it in reverse: the service's components
/// first, what they lean on last.
pub(crate) fn stop_components(
    lifecycle: &Lifecycle,
    config: &Config,
    storage: Option<&Storage>,
    tasks: TaskGroup,
    probes: Option<HealthTasks>,
    primitives: &Primitives,
    container: &Container,
) {
    if let Some(storage) = storage {
        let database = storage.database.clone();
        lifecycle.on(Step::StopComponents, "database", NOTICE, async move || {
            database.close().await;
            Ok::<_, std::convert::Infallible>(())
        });
    }
    lifecycle.on(Step::StopComponents, "background tasks", NOTICE, async move || tasks.stop(NOTICE).await);
    if let Some(probes) = probes {
        lifecycle.on(Step::StopComponents, "health probes", NOTICE, async move || probes.stop(NOTICE).await);
    }
    primitives.stop_with(lifecycle);
    let container = container.clone();
    // Each component has a deadline of its own; the shutdown's total bounds them together.
    lifecycle.on(Step::StopComponents, "components", Duration::MAX, async move || {
        container.stop().await.into_result()
    });
    // Handlers of events lean on components, so they end first.
    primitives.bus.drain_with(lifecycle, config);
}
