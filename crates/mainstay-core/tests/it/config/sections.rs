use std::time::Duration;

use mainstay_core::config::{
    Auth, Breaker, Cache, Config, Database, Events, Field, Health, Identity, Kind, Lock, Log, Metrics,
    Pipeline, RateLimit, Redis, Section, Server, disagreements, millis,
};
use mainstay_core::lock::{self, Locks};
use mainstay_core::rate_limit::{self, Quota, RateLimiter};
use mainstay_core::secret::Secret;
use mainstay_core::time::Clock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::with_env;

#[test]
fn the_table_and_the_type_of_every_built_in_section_agree() {
    let all = [
        disagreements::<Server>(),
        disagreements::<Identity>(),
        disagreements::<Redis>(),
        disagreements::<Database>(),
        disagreements::<Metrics>(),
        disagreements::<Health>(),
        disagreements::<Auth>(),
        disagreements::<Cache>(),
        disagreements::<Lock>(),
        disagreements::<RateLimit>(),
        disagreements::<Events>(),
        disagreements::<Log>(),
    ];
    assert_eq!(all.concat(), [""; 0]);
    // Whoever adds a section adds it above.
    let config = Config::for_tests([]);
    assert_eq!(config.to_json().as_object().unwrap().len(), all.len());
    let named = [disagreements::<Breaker>(), disagreements::<Pipeline>()];
    assert_eq!(named.concat(), [""; 0], "of those a service may have several of");
}

#[derive(Debug, Serialize, Deserialize)]
struct Wrong {
    kept: bool,
    #[serde(default)]
    without_a_row: u8,
    mode: Mode,
    leaked: Option<String>,
    shown: Option<Secret<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Fast,
}

impl Section for Wrong {
    const NAME: &'static str = "wrong";
    const FIELDS: &'static [Field] = &[
        Field::new("kept", Kind::Bool, "Fine").default("true"),
        Field::new("without_a_field", Kind::Text, "Nowhere to go"),
        Field::new("mode", Kind::Enum(&["fast", "slow"]), "One word too many").default("fast"),
        Field::new("leaked", Kind::Secret, "Printed by Debug"),
        Field::new("shown", Kind::Text, "Shown in the dump"),
        Field::new("kept", Kind::Integer { min: 1, max: 2 }, "Again").default("3"),
    ];
}

#[test]
fn a_table_that_disagrees_with_its_type_is_found() {
    let mut found = disagreements::<Wrong>();
    found.sort();
    assert_eq!(
        found,
        [
            "kept has two rows",
            "kept: the default is not a whole number from 1 to 2",
            "leaked: a secret whose type is not Secret<String>",
            "mode: the type does not accept slow",
            "shown: a Secret whose kind is not Kind::Secret",
            "the type has no field without_a_field",
            "without_a_row has no row",
        ]
    );
}

/// Every variable of the surface: its path, its default and another value as text and as kept.
fn surface() -> Vec<(&'static str, &'static str, Value, &'static str, Value)> {
    let null = Value::Null;
    let key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    vec![
        ("PORT", "server.port", json!(3000), "8080", json!(8080)),
        ("HOST", "server.host", json!("127.0.0.1"), "::1", json!("::1")),
        ("APP_ENV", "server.env", json!("development"), "Production", json!("production")),
        ("NODE_ENV", "server.env", json!("development"), "test", json!("test")),
        ("SHUTDOWN_TIMEOUT", "server.shutdown_timeout", json!(30_000), "1m", json!(60_000)),
        ("DRAIN_DELAY", "server.drain_delay", json!(0), "15s", json!(15_000)),
        (
            "CORS_ORIGIN",
            "server.cors_origin",
            json!([]),
            "https://a.example,*",
            json!(["https://a.example", "*"]),
        ),
        ("REQUEST_TIMEOUT", "server.request_timeout", json!(30_000), "5s", json!(5_000)),
        ("HEADER_TIMEOUT", "server.header_timeout", json!(10_000), "5s", json!(5_000)),
        ("IDLE_TIMEOUT", "server.idle_timeout", json!(60_000), "5s", json!(5_000)),
        ("BODY_TIMEOUT", "server.body_timeout", json!(10_000), "5s", json!(5_000)),
        ("MIN_RATE", "server.min_rate", json!(1024), "0", json!(0)),
        ("BODY_LIMIT", "server.body_limit", json!(1_048_576), "10", json!(10)),
        ("MAX_CONNECTIONS", "server.max_connections", json!(10_000), "10", json!(10)),
        ("MAX_CONNECTIONS_PER_CLIENT", "server.max_connections_per_client", json!(1_000), "10", json!(10)),
        ("MAX_STREAMS", "server.max_streams", json!(128), "10", json!(10)),
        ("TLS_HANDSHAKE_TIMEOUT", "server.tls_handshake_timeout", json!(5_000), "1s", json!(1_000)),
        ("HSTS_MAX_AGE", "server.hsts_max_age", json!(0), "1d", json!(86_400_000)),
        ("REGION", "identity.region", null.clone(), "eu-west-1", json!("eu-west-1")),
        ("AWS_REGION", "identity.region", null.clone(), "eu-west-1", json!("eu-west-1")),
        ("ZONE", "identity.zone", null.clone(), "a", json!("a")),
        ("AWS_AVAILABILITY_ZONE", "identity.zone", null.clone(), "a", json!("a")),
        ("REDIS_HOST", "redis.host", null.clone(), "cache", json!("cache")),
        ("REDIS_PORT", "redis.port", json!(6379), "6380", json!(6380)),
        ("REDIS_USERNAME", "redis.username", null.clone(), "u", json!("u")),
        ("REDIS_PASSWORD", "redis.password", null.clone(), "p", json!("***")),
        ("REDIS_DB", "redis.db", json!(0), "3", json!(3)),
        ("REDIS_RETRY_DELAY", "redis.retry_delay", json!(100), "200", json!(200)),
        ("REDIS_MAX_RETRIES", "redis.max_retries", json!(3), "0", json!(0)),
        ("REDIS_TLS", "redis.tls", json!(false), "1", json!(true)),
        ("REDIS_URL", "redis.url", null.clone(), "redis+sentinel://h1,h2/main", json!("***")),
        ("DATABASE_URL", "database.url", null.clone(), "postgres://h/d", json!("***")),
        ("DB_DIALECT", "database.dialect", null.clone(), "sqlite", json!("sqlite")),
        ("DB_POOL_MAX", "database.pool_max", json!(10), "20", json!(20)),
        ("DB_POOL_MIN", "database.pool_min", json!(0), "2", json!(2)),
        ("DB_POOL_ACQUIRE", "database.pool_acquire", json!(30_000), "1s", json!(1_000)),
        ("DB_POOL_IDLE", "database.pool_idle", json!(10_000), "1s", json!(1_000)),
        ("DB_SLOW_QUERY", "database.slow_query", json!(200), "1s", json!(1_000)),
        ("METRICS_ENABLED", "metrics.enabled", json!(true), "no", json!(false)),
        ("METRICS_PORT", "metrics.port", null.clone(), "9090", json!(9090)),
        ("METRICS_HOST", "metrics.host", json!("127.0.0.1"), "::1", json!("::1")),
        ("METRICS_PATH", "metrics.path", json!("/metrics"), "/m", json!("/m")),
        ("METRICS_COLLECT_INTERVAL", "metrics.collect_interval", json!(60_000), "5s", json!(5_000)),
        ("HEALTH_CHECK_ENABLED", "health.enabled", json!(true), "off", json!(false)),
        ("HEALTH_CHECK_PATH", "health.path", json!("/health"), "/h", json!("/h")),
        ("HEALTH_CHECK_TIMEOUT", "health.timeout", json!(5_000), "1s", json!(1_000)),
        ("HEALTH_CHECK_INTERVAL", "health.interval", json!(30_000), "1s", json!(1_000)),
        ("JWT_SECRET", "auth.jwt_secret", null.clone(), key, json!("***")),
        ("JWT_PRIVATE_KEY", "auth.jwt_private_key", null.clone(), "k", json!("***")),
        ("JWT_PUBLIC_KEY", "auth.jwt_public_key", null.clone(), "k", json!("k")),
        ("JWT_RETIRED_PUBLIC_KEY", "auth.jwt_retired_public_key", null.clone(), "k", json!("k")),
        ("JWT_JWKS_URL", "auth.jwt_jwks_url", null.clone(), "https://a/j", json!("https://a/j")),
        ("JWT_JWKS_PRIVATE", "auth.jwt_jwks_private", json!(false), "true", json!(true)),
        ("JWT_ALGORITHM", "auth.jwt_algorithm", null.clone(), "eddsa", json!("EdDSA")),
        ("JWT_EXPIRES_IN", "auth.jwt_expires_in", json!(3_600_000), "24h", json!(86_400_000)),
        ("JWT_ISSUER", "auth.jwt_issuer", null.clone(), "me", json!("me")),
        ("JWT_AUDIENCE", "auth.jwt_audience", null.clone(), "you", json!("you")),
        ("SESSION_IDLE", "auth.session_idle", json!(1_209_600_000), "1h", json!(3_600_000)),
        (
            "SESSION_LIFETIME",
            "auth.session_lifetime",
            json!(7_776_000_000_u64),
            "30d",
            json!(2_592_000_000_u64),
        ),
        ("REVOCATION_OUTAGE", "auth.revocation_outage", json!("allow"), "refuse", json!("refuse")),
        ("PASSWORD_MEMORY", "auth.password_memory", json!(19_456), "8", json!(8)),
        ("PASSWORD_ITERATIONS", "auth.password_iterations", json!(2), "1", json!(1)),
        ("PASSWORD_CONCURRENCY", "auth.password_concurrency", json!(2), "4", json!(4)),
        ("ENCRYPTION_KEY", "auth.encryption_key", null.clone(), key, json!("***")),
        ("RATE_LIMIT_WINDOW_MS", "rate_limit.window", json!(900_000), "60000", json!(60_000)),
        ("RATE_LIMIT_MAX_REQUESTS", "rate_limit.max_requests", json!(100), "5", json!(5)),
        ("TRUSTED_PROXIES", "rate_limit.trusted_proxies", json!([]), "10.0.0.0/8", json!(["10.0.0.0/8"])),
        ("LOG_LEVEL", "log.level", json!("info"), "TRACE", json!("trace")),
        ("LOG_FORMAT", "log.format", json!("pretty"), "json", json!("json")),
        ("DEBUG", "log.debug", json!([]), "redis, db,", json!(["redis", "db"])),
    ]
}

#[test]
fn every_variable_of_the_surface_has_its_default_and_sets_its_setting() {
    let defaults = with_env([]).load().unwrap();
    for (variable, path, default, text, kept) in surface() {
        assert_eq!(defaults.value(path), Some(default), "default of {variable}");
        let config = with_env([(variable, text)]).load().unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.value(path), Some(kept), "{variable}={text}");
    }
}

#[test]
fn settings_that_need_company_work_together() {
    let ring = format!("b:{0},a:{0}", "ab".repeat(32));
    let config = with_env([
        ("SERVICE_NAME", "shop"),
        ("INSTANCE_ID", "pod-7"),
        ("DB_DIALECT", "mariadb"),
        ("DB_HOST", "db"),
        ("DB_PORT", "3307"),
        ("DB_NAME", "shop"),
        ("DB_USER", "shop"),
        ("DB_PASSWORD", "p"),
        ("ENCRYPTION_KEYS", &ring),
    ])
    .load()
    .unwrap();
    let database = config.get::<Database>();
    assert_eq!(
        (database.host.as_deref(), database.port, database.user.as_deref()),
        (Some("db"), Some(3307), Some("shop"))
    );
    assert_eq!(config.get::<Auth>().encryption_keys.as_ref().unwrap().expose(), &ring);
    assert_eq!(config.get::<Identity>().service_name, "shop");
}

#[test]
fn the_reference_names_every_variable_of_the_surface() {
    let reference = Config::reference();
    let others = [
        "SERVICE_NAME",
        "INSTANCE_ID",
        "DB_HOST",
        "DB_PORT",
        "DB_NAME",
        "DB_USER",
        "DB_PASSWORD",
        "ENCRYPTION_KEYS",
    ];
    for variable in surface().iter().map(|row| row.0).chain(others) {
        assert!(reference.contains(&format!("`{variable}`")), "{variable} is missing");
    }
    assert!(
        reference.contains("| `HOST` | `host` | `127.0.0.1` in development, `0.0.0.0` in production |"),
        "{reference}"
    );
}

#[test]
fn only_what_the_process_can_really_change_is_changeable() {
    let changeable: Vec<String> = Config::for_tests([])
        .entries()
        .into_iter()
        .filter(|entry| !entry.restart)
        .map(|entry| entry.path)
        .collect();
    assert_eq!(
        changeable,
        [
            "auth.jwt_expires_in",
            "events.degraded_after",
            "health.interval",
            "health.timeout",
            "log.debug",
            "log.level",
            "metrics.collect_interval",
            "rate_limit.max_requests",
            "rate_limit.trusted_proxies",
            "rate_limit.window",
            "server.body_limit",
            "server.body_timeout",
            "server.cors_origin",
            "server.header_timeout",
            "server.host",
            "server.hsts_max_age",
            "server.idle_timeout",
            "server.max_connections",
            "server.max_connections_per_client",
            "server.max_streams",
            "server.min_rate",
            "server.port",
            "server.request_timeout",
            "server.shed_target",
            "server.tls_handshake_timeout",
        ]
    );
}

#[derive(Debug, Serialize, Deserialize)]
struct Billing {
    batch: u32,
    #[serde(with = "millis")]
    pause: Duration,
    api_key: Option<Secret<String>>,
}

impl Section for Billing {
    const NAME: &'static str = "billing";
    const FIELDS: &'static [Field] = &[
        Field::new("batch", Kind::Integer { min: 1, max: 1000 }, "Invoices sent at once")
            .env(&["BATCH"])
            .default("50"),
        Field::new("pause", Kind::DURATION, "Wait between batches").default("2s"),
        Field::new("api_key", Kind::Secret, "Key of the provider").env(&["API_KEY"]),
    ];
}

#[test]
fn a_section_of_the_service_is_treated_as_the_built_in_ones() {
    assert_eq!(disagreements::<Billing>(), [""; 0]);
    let builder = with_env([("BATCH", "20"), ("API_KEY", "hunter2")]).section::<Billing>();
    assert!(builder.reference().contains("`BATCH`"));
    let config = builder.load().unwrap();
    config.update("billing.pause", "250ms").unwrap();
    let billing = config.get::<Billing>();
    assert_eq!((billing.batch, billing.pause.as_millis()), (20, 250));
    assert_eq!(config.value("billing.api_key"), Some("***".into()));
    let problems = with_env([("BATCH", "0")]).section::<Billing>().load().unwrap_err();
    assert!(problems.to_string().contains("BATCH=\"0\": expected a whole number from 1 to 1000"));
}

#[test]
fn the_published_reference_is_the_one_the_code_has() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let text = format!(
        "# Configuration\n\nEvery setting, its variable and its default. Made from the code: \
         `UPDATE_DOCS=1 cargo test -p mainstay-core the_published_reference` writes it anew.\n\n{}",
        Config::reference()
    );
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(page, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(page).unwrap_or_default() == text,
        "docs/configuration.md is out of date"
    );
}

#[test]
fn a_lock_is_not_kept_for_longer_than_a_day_nor_renewed_for_less_than_its_ttl() {
    let refused = |values: [_; 2]| with_env(values).load().unwrap_err().to_string();
    let long = refused([("LOCK_TTL", "25h"), ("LOCK_MAX_HOLD", "30h")]);
    assert!(long.contains("must not be longer than 24h"), "{long}");
    let short = refused([("LOCK_TTL", "2m"), ("LOCK_MAX_HOLD", "1m")]);
    assert!(short.contains("must not be shorter than ttl"), "{short}");
}

/// What is accepted must work: who finds out at the first request has no log of the start to look at.
#[tokio::test]
async fn primitives_take_the_longest_and_shortest_times_that_the_configuration_accepts() {
    let refused = |name, value| with_env([(name, value)]).load().unwrap_err().to_string();
    for (name, value) in [("LOCK_TTL", "9ms"), ("LOCK_WAIT", "1441m"), ("RATE_LIMIT_WINDOW_MS", "366d")] {
        let problem = refused(name, value);
        assert!(problem.contains(name) && problem.contains("must not be"), "{problem}");
    }
    let (metrics, clock) = (mainstay_core::metrics::Metrics::new(), Clock::system());
    for ttl in ["10ms", "24h"] {
        let extreme = [("LOCK_TTL", ttl), ("LOCK_WAIT", "24h"), ("LOCK_MAX_HOLD", "24h")];
        let settings = with_env(extreme).load().unwrap().get::<Lock>();
        let mut options = lock::Options::default();
        (options.ttl, options.wait, options.max_hold) = (settings.ttl, settings.wait, settings.max_hold);
        let locks = Locks::in_memory(options, &metrics, clock.clone());
        let _held = locks.lock(ttl).acquire().await.unwrap();
    }
    let limiter = RateLimiter::in_memory(rate_limit::Options::default(), &metrics, clock);
    for (window, requests) in [("1ms", "1"), ("365d", "4294967295")] {
        let extreme = [("RATE_LIMIT_WINDOW_MS", window), ("RATE_LIMIT_MAX_REQUESTS", requests)];
        let settings = with_env(extreme).load().unwrap().get::<RateLimit>();
        limiter.check("k", Quota::new(settings.max_requests, settings.window)).await.unwrap();
    }
}
