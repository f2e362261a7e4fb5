use std::sync::{Arc, Weak};
use std::time::Duration;

use mainstay_core::config::{self, Config};
use mainstay_core::event::store::Store;
use mainstay_core::event::{self, Events, QueueStats};
use mainstay_core::health::{Check, Error, Health, Observation};
use mainstay_core::lifecycle::{Lifecycle, Step};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_http::endpoint::{Backlog, EventBus};
use mainstay_http::{EventStreamOptions, EventStreams};
use mainstay_redis::Redis;
use mainstay_redis::event::RedisEvents;
use mainstay_sql::event::SqlEvents;
use mainstay_sql::outbox::{self, Outbox};
use mainstay_sql::{Database, Dialect, MigrationState, Migrations};

use super::Storage;
use super::primitives::LET_GO;
use super::redis::namespace;

/// The event bus of an app, and what lies around it.
pub(crate) struct Bus {
    /// Shared with the health check, which must not keep it: metrics read the checks, and it counts into metrics.
    pub(crate) events: Arc<Events>,
    pub(crate) streams: EventStreams,
    pub(crate) backend: &'static str,
    /// How events of transactions get to a store that is not their database.
    outbox: Option<Arc<Outbox>>,
}

impl Bus {
    /// On Redis where there is one, else in the service's database where there is one, else in this process.
    pub(crate) fn open(
        config: &Config,
        metrics: &Metrics,
        storage: Option<&Storage>,
        redis: Option<&Redis>,
        clock: Clock,
    ) -> Self {
        let mut outbox = None;
        let (backend, events) = match (redis, storage) {
            (Some(redis), storage) => {
                let store = on_redis(config, redis);
                outbox = storage.map(|storage| {
                    let mut options = outbox::Options::default();
                    options.keep = config.get::<config::Events>().outbox_keep;
                    let (to, epochs) = (Arc::clone(&store), redis.epochs());
                    Arc::new(Outbox::start(&storage.database, to, epochs, options, metrics, clock.clone()))
                });
                ("redis", Events::new(store, options(config), metrics, clock))
            }
            (None, Some(storage)) => {
                let store = in_database(config, &storage.database, clock.clone());
                (backend(storage.database.dialect()), Events::new(store, options(config), metrics, clock))
            }
            (None, None) => ("memory", Events::in_memory(options(config), metrics, clock)),
        };
        let mut bounds = EventStreamOptions::default();
        bounds.max = config.get::<config::Events>().max_streams as usize;
        Self { events: Arc::new(events), streams: EventStreams::new(bounds, metrics), backend, outbox }
    }

    /// What `/distributed/events` says of it.
    pub(crate) fn status(&self) -> EventBus {
        let bus = EventBus::new(self.backend);
        let Some(outbox) = self.outbox.clone() else { return bus };
        bus.with_outbox(move || {
            let (waiting, oldest) = outbox.waiting();
            Backlog { waiting, oldest }
        })
    }

    /// Whether events of a transaction wait while the store is away.
    pub(crate) const fn has_outbox(&self) -> bool {
        self.outbox.is_some()
    }

    /// Hands the relay to the shutdown: it ends after the components whose transactions carry events, and before the
    /// store and the database that it leans on.
    pub(crate) fn stop_with(&self, lifecycle: &Lifecycle) {
        if let Some(outbox) = self.outbox.clone() {
            lifecycle.on(Step::StopComponents, "outbox", LET_GO, async move || outbox.stop(LET_GO).await);
        }
    }

    /// Hands the bus to the shutdown: consumers end before the components that their handlers lean on.
    pub(crate) fn drain_with(&self, lifecycle: &Lifecycle, config: &Config) {
        let events = Arc::clone(&self.events);
        // What requests leave of the time, components need too.
        let patience = config.get::<config::Server>().shutdown_timeout / 2;
        lifecycle
            .on(Step::StopComponents, "events", patience + LET_GO, async move || events.stop(patience).await);
    }

    /// Warns while an event waits for longer than it should. Looks at what is known of the queues and asks nobody: a
    /// store that is away has a check of its own.
    pub(crate) fn register_check(&self, health: &Health, config: &Config) -> Result<(), Error> {
        let (events, config) = (Arc::downgrade(&self.events), config.clone());
        let outbox = self.outbox.as_ref().map(Arc::downgrade);
        let look = move || {
            let oldest = events.upgrade().and_then(|events| oldest(&events));
            let relay = outbox.as_ref().and_then(Weak::upgrade).and_then(|outbox| outbox.waiting().1);
            let allowed = config.get::<config::Events>().degraded_after;
            let seen = Observation::of(oldest.as_ref().map_or(0.0, |(_, age)| age.as_millis() as f64), "ms");
            let seen = match oldest {
                Some((group, age)) if age > allowed => seen
                    .warn(format!("group {group} has an event it has not finished for {} s", age.as_secs())),
                _ if relay.is_some_and(|age| age > allowed) => {
                    seen.warn("events wait in the outbox".to_owned())
                }
                _ => seen,
            };
            async move { Ok::<_, std::convert::Infallible>(seen) }
        };
        health.register(Check::new("events", look).kind("component"))
    }
}

/// The group that is furthest behind, and by how much. Not queues of single instances: those of one that was killed
/// stay for a while, and nobody waits for them.
fn oldest(events: &Events) -> Option<(Arc<str>, Duration)> {
    let queues = events.last_stats()?.queues.into_iter().filter(|stats| stats.queue.instance.is_none());
    let aged = queues.filter_map(|QueueStats { queue, oldest, .. }| Some((queue.group, oldest?)));
    aged.max_by_key(|(_, age)| *age)
}

const fn backend(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "postgres",
        Dialect::Mysql => "mysql",
        _ => "sqlite",
    }
}

/// Events that are carried by the tables of a database.
fn in_database(config: &Config, database: &Database, clock: Clock) -> Arc<dyn Store> {
    let settings = config.get::<config::Events>();
    let mut options = mainstay_sql::event::Options::default();
    options.max_queue = settings.max_queue as usize;
    options.retention = settings.retention;
    Arc::new(SqlEvents::new(database, options, clock))
}

/// Events that are carried by streams.
fn on_redis(config: &Config, redis: &Redis) -> Arc<dyn Store> {
    let settings = config.get::<config::Events>();
    let mut options = mainstay_redis::event::Options::default();
    options.max_queue = settings.max_queue as usize;
    options.retention = settings.retention;
    // What the outbox hands over again must be known still.
    options.dedup_window = options.dedup_window.max(settings.outbox_keep.saturating_mul(2));
    Arc::new(RedisEvents::new(redis.clone(), &namespace(config), options))
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

/// The events of a service that this process is not: for a command, while the service runs or not.
pub(crate) struct Lent {
    pub(crate) events: Events,
    storage: Option<Storage>,
    redis: Option<Redis>,
}

/// Longest wait for the store of a command.
const PATIENCE: Duration = Duration::from_secs(10);

impl Lent {
    /// # Errors
    /// Says what to do where there is nothing to be asked.
    pub(crate) async fn open(
        config: &Config,
        has_database: bool,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (metrics, clock) = (Metrics::new(), Clock::system());
        let mut options = options(config);
        options.op_timeout = PATIENCE;
        if let Some(redis) = super::open_redis(config, &metrics).await? {
            let events = Events::new(on_redis(config, &redis), options, &metrics, clock);
            return Ok(Self { events, storage: None, redis: Some(redis) });
        }
        if !has_database {
            return Err("the events of this service live in its process: ask GET /distributed/events".into());
        }
        let storage = super::open(config, &metrics).await?;
        let tables = storage.database.migration_status(&Migrations::new([]).with_events()).await?;
        if tables.iter().any(|table| table.state == MigrationState::Pending) {
            storage.database.close().await;
            return Err("the database has no tables for events yet: run `migrate` first".into());
        }
        let store = in_database(config, &storage.database, clock.clone());
        let events = Events::new(store, options, &metrics, clock);
        Ok(Self { events, storage: Some(storage), redis: None })
    }

    pub(crate) async fn give_back(self) {
        drop(self.events);
        if let Some(storage) = self.storage {
            storage.database.close().await;
        }
        if let Some(redis) = self.redis {
            // What has not ended by then ends with the process.
            let _overrun = redis.stop(PATIENCE).await;
        }
    }
}
