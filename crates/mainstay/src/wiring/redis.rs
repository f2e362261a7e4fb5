use std::time::Duration;

use mainstay_core::config::{self, Config};
use mainstay_core::health::{Check, Error, Health, Observation};
use mainstay_core::lifecycle::{Lifecycle, Step};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_http::endpoint::StoreStatus;
use mainstay_redis::{Address, Deployment, Options, Redis};
use mainstay_redis::{ServerStatus, Severity, Status};
use serde_json::{Value, json};

use crate::StartError;

/// How long a start waits for a server that does not answer, before it goes on without.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two looks of the health check: it asks nobody, and the guard has waited already.
const LOOK: Duration = Duration::from_secs(1);
/// For the connections to close.
const CLOSE: Duration = Duration::from_secs(2);

/// The shared store, where one is configured. A server that does not answer is no reason not to start: every
/// primitive has a rule for that. One that is set up so that locks could be lost is.
pub(crate) async fn open(config: &Config, metrics: &Metrics) -> Result<Option<Redis>, StartError> {
    let Some(options) = options(config)? else { return Ok(None) };
    let redis = Redis::open(options, metrics, Clock::system());
    if let Err(error) = redis.ready(PATIENCE).await {
        tracing::warn!(%error, "starting without Redis; the attempts go on");
    }
    refuse_unsafe(&redis, config).await?;
    Ok(Some(redis))
}

fn options(config: &Config) -> Result<Option<Options>, StartError> {
    let settings = config.get::<config::Redis>();
    let mut options = match (&settings.url, &settings.host) {
        (Some(url), _) => {
            Options::parse(url.expose()).map_err(|error| StartError::Redis(format!("REDIS_URL: {error}")))?
        }
        (None, Some(host)) => {
            Options::new(Deployment::Standalone(Address::new(host.as_str(), settings.port)))
        }
        (None, None) => return Ok(None),
    };
    // The single settings complete an address that does not say.
    if options.username.is_none() {
        options.username.clone_from(&settings.username);
    }
    if options.password.is_none() {
        options.password.clone_from(&settings.password);
    }
    options.tls |= settings.tls;
    if options.tls && !cfg!(feature = "redis-tls") {
        let why = "REDIS_TLS=true and rediss:// need the feature `redis-tls`, which this build is without";
        return Err(StartError::Redis(why.to_owned()));
    }
    if options.database == 0 {
        options.database = settings.db;
    }
    if options.database != 0 && matches!(options.deployment, Deployment::Cluster { .. }) {
        return Err(StartError::Redis("REDIS_DB must be 0, the only database of a Cluster".to_owned()));
    }
    options.tls_ca.clone_from(&settings.tls_ca);
    options.allow_unsafe = settings.allow_unsafe;
    options.client_name.clone_from(&config.get::<config::Identity>().instance_id);
    options.connections = usize::from(settings.connections);
    options.command_timeout = settings.timeout;
    options.retry_delay = settings.retry_delay;
    options.max_retries = settings.max_retries;
    Ok(Some(options))
}

/// Begins every key of this service.
pub(crate) fn namespace(config: &Config) -> String {
    let own = config.get::<config::Redis>().namespace.clone();
    own.unwrap_or_else(|| config.get::<config::Identity>().service_name.clone())
}

/// A server on which locks or limits can be lost before their time is refused, unless the configuration says that
/// this is known. One that appears later is only complained about.
async fn refuse_unsafe(redis: &Redis, config: &Config) -> Result<(), StartError> {
    let allowed = config.get::<config::Redis>().allow_unsafe;
    let unsafe_now = redis.audit().await.into_iter().find(|finding| finding.severity == Severity::Unsafe);
    match unsafe_now.filter(|_| !allowed) {
        Some(finding) => {
            let hint = "REDIS_ALLOW_UNSAFE=true starts all the same";
            Err(StartError::Redis(format!("{}; {hint}", finding.message)))
        }
        None => Ok(()),
    }
}

/// What `/distributed/redis/status` answers from.
pub(crate) fn store_status(redis: Option<&Redis>) -> StoreStatus {
    let Some(redis) = redis.cloned() else { return StoreStatus::embedded() };
    StoreStatus::new(move || report(&redis.status()))
}

fn report(status: &Status) -> Value {
    let sum =
        |of: fn(&ServerStatus) -> Option<u64>| status.servers.iter().filter_map(of).reduce(|a, b| a + b);
    let first = status.servers.first();
    json!({
        "connected": status.connected,
        "health": health(status).as_str(),
        "mode": status.mode,
        "info": first.map(|server| json!({"version": server.version, "role": server.role})),
        "memory": first.map(|_| json!({
            "usedBytes": sum(|server| server.memory_used),
            "maxBytes": sum(|server| server.memory_max),
        })),
        "servers": status.servers,
        "findings": status.findings().collect::<Vec<_>>(),
    })
}

/// Without Redis the service goes on by its rules: never worse than degraded.
fn health(status: &Status) -> mainstay_core::health::Status {
    if status.connected {
        mainstay_core::health::Status::Healthy
    } else {
        mainstay_core::health::Status::Degraded
    }
}

/// Reads what the connection knows of itself, and asks nobody.
pub(crate) fn register_check(health: &Health, redis: &Redis) -> Result<(), Error> {
    let redis = redis.clone();
    let look = move || {
        let status = redis.status();
        async move {
            let up = status.servers.iter().filter(|server| server.connected).count();
            let seen = Observation::of(up as f64, "servers");
            let seen = if status.connected {
                seen
            } else {
                let why = status.servers.iter().find_map(|server| server.last_error.clone());
                seen.warn(why.unwrap_or_else(|| "it does not answer".to_owned()))
            };
            Ok::<_, std::convert::Infallible>(seen)
        }
    };
    health.register(Check::new("redis", look).interval(LOOK).kind("datastore"))
}

/// Closes the connections, after all that goes over them has ended.
pub(crate) fn close_with(redis: &Redis, lifecycle: &Lifecycle) {
    let redis = redis.clone();
    lifecycle.on(Step::StopComponents, "redis", CLOSE, async move || redis.stop(CLOSE).await);
}
