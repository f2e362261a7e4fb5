use std::sync::Arc;

use mainstay_core::config::{self, Config};
use mainstay_core::event::{self, Events, Store};
use mainstay_core::lifecycle::{Lifecycle, Step};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_redis::Redis;
use mainstay_redis::event::RedisEvents;
use mainstay_sql::event::SqlEvents;
use mainstay_sql::outbox::{self, Outbox};

use super::Storage;
use super::primitives::LET_GO;
use super::redis::namespace;

/// The event bus, and how events of transactions get to it where that is not the database itself.
pub(crate) struct Bus {
    pub(crate) events: Events,
    pub(crate) outbox: Option<Arc<Outbox>>,
}

impl Bus {
    /// On Redis where there is one; else in the service's database where there is one; else in this process.
    pub(crate) fn open(
        config: &Config,
        metrics: &Metrics,
        storage: Option<&Storage>,
        redis: Option<&Redis>,
        clock: Clock,
    ) -> Self {
        let options = options(config);
        let alone = |events| Self { events, outbox: None };
        match (redis, storage) {
            (None, None) => alone(Events::in_memory(options, metrics, clock)),
            (None, Some(storage)) => {
                let store = SqlEvents::new(&storage.database, in_database(config), clock.clone());
                alone(Events::new(Arc::new(store), options, metrics, clock))
            }
            (Some(redis), storage) => {
                let store = RedisEvents::new(redis.clone(), &namespace(config), on_redis(config));
                let store: Arc<dyn Store> = Arc::new(store);
                let outbox = storage.map(|storage| {
                    let mut options = outbox::Options::default();
                    options.keep = config.get::<config::Events>().outbox_keep;
                    let (to, epochs) = (Arc::clone(&store), redis.epochs());
                    Arc::new(Outbox::start(&storage.database, to, epochs, options, metrics, clock.clone()))
                });
                Self { events: Events::new(store, options, metrics, clock), outbox }
            }
        }
    }

    /// Hands the relay to the shutdown: after the components whose transactions carry events, before the store and the
    /// database that it leans on.
    pub(crate) fn stop_with(&self, lifecycle: &Lifecycle) {
        if let Some(outbox) = self.outbox.clone() {
            lifecycle.on(Step::StopComponents, "outbox", LET_GO, async move || outbox.stop(LET_GO).await);
        }
    }
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

fn in_database(config: &Config) -> mainstay_sql::event::Options {
    let settings = config.get::<config::Events>();
    let mut options = mainstay_sql::event::Options::default();
    options.max_queue = settings.max_queue as usize;
    options.retention = settings.retention;
    options
}

fn on_redis(config: &Config) -> mainstay_redis::event::Options {
    let settings = config.get::<config::Events>();
    let mut options = mainstay_redis::event::Options::default();
    options.max_queue = settings.max_queue as usize;
    options.retention = settings.retention;
    // What the outbox hands over again must be known still.
    options.dedup_window = settings.outbox_keep.saturating_mul(2);
    options
}
