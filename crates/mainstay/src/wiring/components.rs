use mainstay_core::config::{Cache, CacheDegrade, Config, Identity, RateLimit, RateLimitOutage, Server};
use mainstay_http::endpoint::{Component, Info};
use mainstay_redis::Redis;

use super::events::Bus;

/// What `/distributed/info` says: the parts of this app and their degrade rules. A part that comes to
/// the chassis adds its line here.
pub(crate) fn info(
    config: &Config,
    version: &str,
    has_database: bool,
    redis: Option<&Redis>,
    bus: &Bus,
) -> Info {
    let identity = config.get::<Identity>();
    let shared = redis.map_or("memory", |redis| match redis.status().mode {
        "sentinel" => "redis (sentinel)",
        "cluster" => "redis (cluster)",
        _ => "redis",
    });
    let cache = match config.get::<Cache>().degrade {
        CacheDegrade::Refuse => "refuse: everything fails at once, get_or_load too",
        _ => {
            "local: get and set fail at once, get_or_load loads by itself, a bounded number at a time; what was not taken away is taken away when the store is back"
        }
    };
    let limits = match config.get::<RateLimit>().outage {
        RateLimitOutage::Deny => "deny: 503 for everybody, unless the quota says local or allow",
        RateLimitOutage::Allow => "allow: nobody is limited, unless the quota says local or deny",
        _ => "local: each instance admits its share, unless the quota says deny or allow",
    };
    // Where the state is in this process, it is as near as the code: the rules matter with a shared store.
    let mut components = vec![
        Component::new("config", "files, environment", "keeps the last good configuration"),
        Component::new("metrics", "memory", "needs no store"),
        Component::new("health", "memory", "needs no store; a failed dependency does not stop liveness"),
        Component::new("cache", shared, cache),
        Component::new("lock", shared, "refuse: nobody gets a lock; guards stay valid until their time ends"),
        Component::new("rate_limit", shared, limits),
        Component::new(
            "events",
            bus.backend,
            if bus.has_outbox() {
                "refuse: publishing fails at once, unless in a transaction, whose events wait in the outbox; consumers go on when it is back"
            } else {
                "refuse: publishing fails at once; consumers go on when it is back"
            },
        ),
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
