use mainstay_core::config::{Config, Environment, Identity, Log, RateLimit, Server};
use mainstay_core::telemetry::Format;
use tempfile::tempdir;

use super::{lines, origin, with_env, with_files, write};

#[test]
fn with_nothing_set_everything_has_a_default_and_says_so() {
    let config = with_env([]).load().unwrap();
    assert_eq!(config.get::<Server>().port, 3000);
    assert!(config.entries().iter().all(|entry| entry.origin.to_string() == "default"));
}

#[test]
fn each_origin_is_named_as_the_person_knows_it() {
    let dir = tempdir().unwrap();
    let file = write(dir.path(), "mainstay.toml", "[rate_limit]\nmax_requests = 7\n[server]\nport = 1\n");
    let secret = write(dir.path(), "password", "hunter2\n");
    let config = with_files(dir.path(), [("PORT", "8080"), ("REDIS_PASSWORD_FILE", &secret)])
        .overrides([("LOG_LEVEL".to_owned(), "debug".to_owned())])
        .load()
        .unwrap();
    config.update("health.interval", "1m").unwrap();
    assert_eq!(origin(&config, "rate_limit.max_requests"), format!("file {file}"));
    assert_eq!(origin(&config, "server.port"), "env PORT");
    assert_eq!(origin(&config, "redis.password"), "env REDIS_PASSWORD_FILE");
    assert_eq!(origin(&config, "log.level"), "command line");
    assert_eq!(origin(&config, "health.interval"), "run-time update");
    assert_eq!(origin(&config, "redis.port"), "default");
}

#[test]
fn the_environment_chooses_the_second_file() {
    let dir = tempdir().unwrap();
    write(dir.path(), "mainstay.toml", "[rate_limit]\nmax_requests = 1\nwindow = '1s'\n");
    write(dir.path(), "mainstay.production.toml", "[rate_limit]\nmax_requests = 2\n");
    let limit = |config: Config| config.get::<RateLimit>().max_requests;
    assert_eq!(limit(with_files(dir.path(), []).load().unwrap()), 1);
    assert_eq!(limit(with_files(dir.path(), [("APP_ENV", "production")]).load().unwrap()), 2);
    assert_eq!(limit(with_files(dir.path(), [("NODE_ENV", "production")]).load().unwrap()), 2);
    let from_command_line = with_files(dir.path(), [("APP_ENV", "development")])
        .overrides([("server.env".to_owned(), "production".to_owned())]);
    assert_eq!(limit(from_command_line.load().unwrap()), 2);
    write(dir.path(), "mainstay.toml", "[server]\nenv = 'production'\n");
    assert_eq!(limit(with_files(dir.path(), []).load().unwrap()), 2);
}

#[test]
fn the_file_that_the_environment_chose_cannot_choose_another() {
    let dir = tempdir().unwrap();
    let file = write(dir.path(), "mainstay.development.toml", "[server]\nenv = 'production'\n");
    let problems = with_files(dir.path(), []).load().unwrap_err();
    assert_eq!(lines(&problems), [format!("{file}:2 server.env: cannot be set in the file that it chooses")]);
}

#[test]
fn mainstay_config_names_a_directory_or_a_file() {
    let dir = tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    write(dir.path(), "mainstay.toml", "[server]\nport = 1\n");
    let file = write(dir.path(), "other.toml", "[server]\nport = 2\n");
    write(dir.path(), "other.test.toml", "[server]\nport = 3\n");
    let port = |variables: [(&str, &str); 2]| {
        Config::builder().env_vars(variables).load().unwrap().get::<Server>().port
    };
    assert_eq!(port([("MAINSTAY_CONFIG", path), ("APP_ENV", "test")]), 1);
    assert_eq!(port([("MAINSTAY_CONFIG", &file), ("APP_ENV", "production")]), 2);
    assert_eq!(port([("MAINSTAY_CONFIG", &file), ("APP_ENV", "test")]), 3);
}

#[test]
fn a_file_asked_for_by_name_must_exist() {
    let dir = tempdir().unwrap();
    let (file, gone) = (dir.path().join("no.toml"), dir.path().join("no"));
    let (file, gone) = (file.to_str().unwrap(), gone.to_str().unwrap());
    let load = |path: &str| Config::builder().env_vars([("MAINSTAY_CONFIG", path)]).load().unwrap_err();
    assert_eq!(lines(&load(file)), [format!("{file}: cannot be read: there is no such file")]);
    let expected = format!("MAINSTAY_CONFIG={gone:?}: expected an existing directory or a .toml file");
    assert_eq!(lines(&load(gone)), [expected]);
}

#[test]
fn an_empty_value_counts_as_unset_in_every_layer() {
    let dir = tempdir().unwrap();
    write(dir.path(), "mainstay.toml", "[server]\nport = 8080\n[redis]\nhost = ''\n");
    let config = with_files(dir.path(), [("PORT", ""), ("DATABASE_URL", "  "), ("JWT_SECRET", "")])
        .overrides([("server.port".to_owned(), String::new())])
        .load();
    // A secret is not trimmed: blanks are a value, and not a URL.
    assert_eq!(lines(&config.unwrap_err()).len(), 1);
    let config = with_files(dir.path(), [("PORT", ""), ("APP_ENV", ""), ("NODE_ENV", "test"), ("HOST", " ")])
        .overrides([("server.port".to_owned(), String::new())])
        .load()
        .unwrap();
    assert_eq!(config.value("server.port"), Some(8080.into()));
    assert_eq!(config.value("redis.host"), Some(serde_json::Value::Null));
    assert_eq!(config.get::<Server>().env, Environment::Test);
}

#[test]
fn the_name_of_a_variable_wins_over_its_alias() {
    let config = with_env([("APP_ENV", "test"), ("NODE_ENV", "production")]).load().unwrap();
    assert_eq!(config.get::<Server>().env, Environment::Test);
    let config = with_env([("AWS_REGION", "eu-west-1")]).load().unwrap();
    assert_eq!(config.get::<Identity>().region.as_deref(), Some("eu-west-1"));
    assert_eq!(origin(&config, "identity.region"), "env AWS_REGION");
}

#[test]
fn a_value_behind_a_file_variable_loses_its_last_line_break_only() {
    let dir = tempdir().unwrap();
    for (content, expected) in [("a b \n", "a b "), ("x\r\n", "x"), ("two\nlines\n\n", "two\nlines\n")] {
        let path = write(dir.path(), "secret", content);
        let config = with_env([("JWT_PRIVATE_KEY_FILE", path.as_str())]).load().unwrap();
        let auth = config.get::<mainstay_core::config::Auth>();
        assert_eq!(auth.jwt_private_key.as_ref().unwrap().expose(), expected);
    }
}

#[test]
fn any_variable_and_any_alias_can_come_from_a_file() {
    let dir = tempdir().unwrap();
    let (port, region) = (write(dir.path(), "port", "81\n"), write(dir.path(), "region", "eu\n"));
    let config = with_env([("PORT_FILE", port.as_str()), ("AWS_REGION_FILE", &region)]).load().unwrap();
    assert_eq!(config.get::<Server>().port, 81);
    assert_eq!(config.get::<Identity>().region.as_deref(), Some("eu"));
}

#[test]
fn defaults_follow_the_environment() {
    for (env, host, drain, format) in [
        ("development", "127.0.0.1", 0, Format::Pretty),
        ("test", "127.0.0.1", 0, Format::Pretty),
        ("production", "0.0.0.0", 5, Format::Json),
    ] {
        let config = with_env([("APP_ENV", env)]).load().unwrap();
        let server = config.get::<Server>();
        assert_eq!((server.host.to_string().as_str(), server.drain_delay.as_secs()), (host, drain), "{env}");
        assert_eq!(config.get::<Log>().format, format, "{env}");
    }
}

#[test]
fn a_service_can_bring_defaults_of_its_own() {
    let config = with_env([("SERVICE_NAME", "")])
        .default_value("identity.service_name", "user-service")
        .default_value("server.port", 4000)
        .load()
        .unwrap();
    assert_eq!(config.get::<Identity>().service_name, "user-service");
    assert_eq!((config.get::<Server>().port, origin(&config, "server.port")), (4000, "default".to_owned()));
}

#[test]
fn two_processes_have_different_instance_ids_unless_they_are_told_otherwise() {
    let id = |config: Config| config.get::<Identity>().instance_id.clone();
    assert_ne!(id(with_env([]).load().unwrap()), id(with_env([]).load().unwrap()));
    assert_eq!(id(with_env([("INSTANCE_ID", "pod-7")]).load().unwrap()), "pod-7");
}

#[test]
fn an_entry_reads_as_one_line_with_its_origin() {
    let config = with_env([("SHUTDOWN_TIMEOUT", "90000"), ("REDIS_PASSWORD", "hunter2")]).load().unwrap();
    let shown: Vec<String> = config.entries().iter().map(ToString::to_string).collect();
    for line in [
        "server.shutdown_timeout = 90s (env SHUTDOWN_TIMEOUT)",
        "redis.password = *** (env REDIS_PASSWORD)",
        "redis.host = unset (default)",
        "server.port = 3000 (default)",
    ] {
        assert!(shown.iter().any(|shown| shown == line), "{line} is not among {shown:#?}");
    }
    assert!(shown.is_sorted());
    assert_eq!(config.to_json()["server"]["shutdown_timeout"]["value"], 90_000);
    assert_eq!(config.to_json()["server"]["shutdown_timeout"]["origin"], "env SHUTDOWN_TIMEOUT");
}
