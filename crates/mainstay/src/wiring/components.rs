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
    // In this process their state is as near as the code: the rules begin to matter with a shared store.
    components.extend([
        Component::new(
            "cache",
            "memory",
            "local: get and set fail at once, get_or_load loads by itself, a bounded number at a time",
        ),
        Component::new(
            "lock",
            "memory",
            "refuse: nobody gets a lock; guards stay valid until their time ends",
        ),
        Component::new(
            "rate_limit",
            "memory",
            "local: each instance admits its share, unless the quota says deny or allow",
        ),
        Component::new(
            "events",
            "memory",
            "refuse: publishing fails at once; consumers go on when it is back",
        ),
    ]);
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
