use std::sync::Arc;

use mainstay_core::config::{self, Config};
use mainstay_core::event::{self, Events};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_sql::event::SqlEvents;

use super::Storage;

/// The event bus: in the service's database where there is one, else in this process.
pub(crate) fn open(config: &Config, metrics: &Metrics, storage: Option<&Storage>, clock: Clock) -> Events {
    let (options, settings) = (options(config), config.get::<config::Events>());
    let Some(storage) = storage else { return Events::in_memory(options, metrics, clock) };
    let mut kept = mainstay_sql::event::Options::default();
    kept.max_queue = settings.max_queue as usize;
    kept.retention = settings.retention;
    let store = SqlEvents::new(&storage.database, kept, clock.clone());
    Events::new(Arc::new(store), options, metrics, clock)
}

fn options(config: &Config) -> event::Options {
    let (identity, settings) = (config.get::<config::Identity>(), config.get::<config::Events>());
    let mut options = event::Options::new(identity.service_name.as_str());
    options.instance = identity.instance_id.as_str().into();
    options.max_event_bytes = settings.max_event_bytes as usize;
    options.concurrency = usize::from(settings.concurrency);
    options.max_attempts = u32::from(settings.max_attempts);
    options.visibility = settings.visibility;
    options.memory.queue = settings.max_queue as usize;
    options
}
