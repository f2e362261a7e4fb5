use mainstay_core::config::{Config, Identity, Server};
use mainstay_http::endpoint::{Component, Info};

/// What `/distributed/info` says: the parts of this app and their degrade rules. A part that comes to
/// the chassis adds its line here.
pub(crate) fn info(config: &Config, version: &str, has_database: bool) -> Info {
    let identity = config.get::<Identity>();
    let mut components = vec![
        Component::new("config", "files, environment", "keeps the last good configuration"),
        Component::new("metrics", "memory", "needs no store"),
        Component::new("health", "memory", "needs no store; a failed dependency does not stop liveness"),
    ];
    if has_database {
        components.push(Component::new(
            "database",
            "sqlite",
            "refuse: calls fail at once with an error that says so",
        ));
    }
    Info {
        service: identity.service_name.clone(),
        version: version.to_owned(),
        environment: config.get::<Server>().env.as_str().to_owned(),
        instance_id: identity.instance_id.clone(),
        region: identity.region.clone(),
        zone: identity.zone.clone(),
        started_at: jiff::Timestamp::now(),
        components,
    }
}
