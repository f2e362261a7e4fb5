use mainstay_core::config::{Config, Environment, Server};

/// Says at the start what somebody might rely on and does not get yet.
pub(crate) fn notices(config: &Config) {
    if config.get::<Server>().env == Environment::Production {
        tracing::warn!(
            "this version has no sign-in: the service's routes are open to whoever reaches the port"
        );
    }
}
