use std::net::SocketAddr;
use std::sync::Arc;

use mainstay_auth::Authenticate;
use mainstay_core::config::{Config, Environment, Health, Metrics, RateLimit, Server};
use mainstay_http::access::Access;
use mainstay_http::endpoint::Exposure;
use mainstay_http::{Limits, Tls, TlsError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) fn address(server: &Server) -> SocketAddr {
    SocketAddr::new(server.host, server.port)
}

pub(crate) fn limits(config: &Config) -> Limits {
    let server = config.get::<Server>();
    let mut limits = Limits::default();
    limits.request_timeout = server.request_timeout;
    limits.header_timeout = server.header_timeout;
    limits.idle_timeout = server.idle_timeout;
    limits.body_timeout = server.body_timeout;
    limits.min_rate = server.min_rate;
    limits.body_limit = server.body_limit as usize;
    limits.max_connections = server.max_connections as usize;
    limits.max_connections_per_client = server.max_connections_per_client as usize;
    limits.trusted_proxies = super::primitives::trusted_proxies(&config.get::<RateLimit>());
    limits.max_streams = server.max_streams;
    limits.handshake_timeout = server.tls_handshake_timeout;
    limits.hsts_max_age = server.hsts_max_age;
    limits.shed_target = server.shed_target;
    limits.cors_origins.clone_from(&server.cors_origin);
    limits.sampling = super::otlp::sampling(config);
    limits
}

/// Open beside the connections of clients: those to stores, files, the second listener's.
const OTHER_FILES: u64 = 1_024;

/// Lets the process open as many files as it may have connections. Most of what starts processes gives them 1,024: a
/// single client could use them up, and then no store is reached and no file opened any more.
pub(crate) fn allow_files(limits: &Limits) {
    let needed = OTHER_FILES.saturating_add(limits.max_connections as u64);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(current) = current.filter(|current| *current < needed) else { return };
    let allowed = maximum.map_or(needed, |maximum| maximum.min(needed)).max(current);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
    if raised.is_err() || allowed < needed {
        let open_files = if raised.is_ok() { allowed } else { current };
        tracing::warn!(
            open_files,
            needed,
            "MAX_CONNECTIONS is more than the process may open files for; raise its limit (ulimit -n, LimitNOFILE) or lower that"
        );
    }
}

/// What encrypts connections, if the configuration has a certificate.
pub(crate) async fn tls(
    config: &Config,
    metrics: &mainstay_core::metrics::Metrics,
) -> Result<Option<Tls>, TlsError> {
    let server = config.get::<Server>();
    match (&server.tls_cert, &server.tls_key) {
        (Some(certificate), Some(key)) => Tls::open(certificate, key, metrics).await.map(Some),
        _ => Ok(None),
    }
}

/// The second listener, which takes the sensitive endpoints from the main one.
pub(crate) fn admin(config: &Config) -> Option<SocketAddr> {
    let metrics = config.get::<Metrics>();
    metrics.port.map(|port| SocketAddr::new(metrics.host, port))
}

/// Who may see the sensitive endpoints, and which endpoints exist on the main listener.
pub(crate) fn exposure(config: &Config, authenticate: Option<&Arc<dyn Authenticate>>) -> (Access, Exposure) {
    let (health, metrics) = (config.get::<Health>(), config.get::<Metrics>());
    let mut exposure = Exposure::all();
    exposure.health = health.enabled.then(|| health.path.clone());
    exposure.metrics = metrics.enabled.then(|| metrics.path.clone());
    exposure.sensitive = admin(config).is_none();
    let access = Access::new(config.get::<Server>().env == Environment::Development);
    (access.known_by(authenticate.cloned()), exposure)
}
