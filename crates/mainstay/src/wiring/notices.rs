use mainstay_core::config::{Config, Environment, Redis, Server};

/// Says at the start what somebody might rely on and does not get yet.
pub(crate) fn notices(config: &Config) {
    let redis = config.get::<Redis>();
    if redis.host.is_some() || redis.url.is_some() {
        tracing::warn!(
            "events stay with their database: this version shares cache, locks and limits on Redis"
        );
    }
    if config.get::<Server>().env == Environment::Production {
        tracing::warn!(
            "this version has no sign-in: the service's routes are open to whoever reaches the port"
        );
    }
}
