use std::time::Duration;

use mainstay_core::config::{self, Config};
use mainstay_core::health::{Check, Error, Health};
use mainstay_core::lifecycle::{Lifecycle, Step};
use mainstay_core::metrics::Metrics;
use mainstay_core::time::Clock;
use mainstay_http::endpoint::StoreStatus;
use mainstay_redis::{Address, Deployment, Options, Redis};
use serde_json::json;

use crate::StartError;

/// How long a start waits for a server that does not answer, before it goes on without.
const PATIENCE: Duration = Duration::from_secs(2);
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
    Ok(Some(redis))
}

fn options(config: &Config) -> Result<Option<Options>, StartError> {
    let settings = config.get::<config::Redis>();
    let mut options = match (&settings.url, &settings.host) {
        (Some(url), _) => Options::parse(url.expose()).map_err(|error| StartError::Redis(error.to_string()))?,
        (None, Some(host)) => {
            let mut options =
                Options::new(Deployment::Standalone(Address::new(host.as_str(), settings.port)));
            options.tls = settings.tls;
            options.database = settings.db;
            options
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
    options.tls_ca.clone_from(&settings.tls_ca);
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
