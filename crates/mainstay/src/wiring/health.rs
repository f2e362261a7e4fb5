use mainstay_core::config::{self, Config};
use mainstay_core::health::checks::{self, DiskOptions, EventLoopOptions, MemoryOptions};
use mainstay_core::health::{Check, Error, Health, Identity, Options};

use mainstay_redis::Redis;

use super::Storage;
use super::redis::register_check;

pub(crate) fn options(health: &config::Health) -> Options {
    let mut options = Options::default();
    options.timeout = health.timeout;
    options.interval = health.interval;
    options
}

pub(crate) fn identity(config: &Config, version: &str) -> Identity {
    let settings = config.get::<config::Identity>();
    let mut identity = Identity::default();
    identity.service_id.clone_from(&settings.service_name);
    identity.instance_id.clone_from(&settings.instance_id);
    identity.environment = config.get::<config::Server>().env.as_str().to_owned();
    identity.region.clone_from(&settings.region);
    identity.zone.clone_from(&settings.zone);
    identity.version = version.to_owned();
    identity
}

/// The checks every app has. The database is critical, but does not gate readiness: every instance
/// shares it, and taking them all out of the balancer would turn a slow answer into none. Redis is not
/// critical: every primitive has a rule for its absence.
pub(crate) fn register_checks(
    health: &Health,
    storage: Option<&Storage>,
    redis: Option<&Redis>,
) -> Result<(), Error> {
    if let Some(redis) = redis {
        register_check(health, redis)?;
    }
    health.register(checks::memory(MemoryOptions::default()))?;
    health.register(checks::event_loop_lag(EventLoopOptions::default()))?;
    let Some(storage) = storage else { return Ok(()) };
    if let Some(directory) = &storage.directory {
        health.register(checks::disk(directory, DiskOptions::default()))?;
    }
    let database = storage.database.clone();
    let ping = move || {
        let database = database.clone();
        async move { database.ping().await }
    };
    health.register(Check::new("database", ping).kind("database").critical())
}
