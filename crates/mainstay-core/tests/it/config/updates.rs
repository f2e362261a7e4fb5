use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::config::{Config, Error, Health, Log, RateLimit, Server};
use mainstay_core::telemetry::Level;
use serde_json::Value;

use super::origin;

#[test]
fn an_update_takes_a_value_or_its_text() {
    let config = Config::for_tests([]);
    for value in [Value::from(60_000), "60000".into(), " 1m ".into(), "60s".into()] {
        config.update("rate_limit.window", "5s").unwrap();
        config.update("rate_limit.window", value).unwrap();
        assert_eq!(config.get::<RateLimit>().window, Duration::from_secs(60));
    }
    config.update("log.debug", vec!["redis", "db"]).unwrap();
    assert_eq!(config.get::<Log>().debug, ["redis", "db"]);
}

#[test]
fn the_port_can_change_while_the_process_runs() {
    let config = Config::for_tests([]);
    config.update("server.port", 8081).unwrap();
    assert_eq!(config.get::<Server>().port, 8081);
}

#[test]
fn an_unknown_path_is_refused_with_a_suggestion() {
    let error = Config::for_tests([]).update("rate_limit.max_request", 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown setting rate_limit.max_request; did you mean rate_limit.max_requests?"
    );
    let error = Config::for_tests([]).update("weather", 1).unwrap_err();
    assert_eq!(error, Error::Unknown { path: "weather".to_owned(), suggestion: None });
}

#[test]
fn what_needs_a_restart_is_refused_and_named() {
    let config = Config::for_tests([]);
    let error = config
        .update_all([
            ("redis.host", "cache".into()),
            ("server.port", 1.into()),
            ("log.format", "json".into()),
        ])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "redis.host, log.format cannot change while the process runs; \
         set it in the environment or a file and restart"
    );
    assert_eq!((config.get::<Server>().port, config.version()), (3000, 0));
}

#[test]
fn an_update_cannot_be_used_to_guess_a_secret() {
    let config = Config::for_tests([("redis.password", "hunter2")]);
    let answers = ["hunter2", "hunter3", ""].map(|guess| config.update("redis.password", guess).unwrap_err());
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[test]
fn an_update_that_does_not_fit_changes_nothing_and_lists_all_problems() {
    let config = Config::for_tests([]);
    let updates =
        [("server.port", 70_000.into()), ("log.level", "loud".into()), ("health.interval", "1m".into())];
    let Err(Error::Invalid(problems)) = config.update_all(updates) else { panic!("it should be invalid") };
    let names: Vec<&str> = problems.iter().map(|problem| problem.name.as_str()).collect();
    assert_eq!(names, ["server.port", "log.level"]);
    assert_eq!((config.get::<Health>().interval.as_secs(), config.version()), (30, 0));
}

#[test]
fn an_update_is_checked_against_the_whole_configuration() {
    let config = Config::for_tests([("metrics.port", "9090")]);
    let error = config.update("server.port", 9090).unwrap_err();
    assert!(error.to_string().contains("must differ from the main port"), "{error}");
    assert_eq!(config.get::<Server>().port, 3000);
}

#[test]
fn null_takes_an_update_back() {
    let config = Config::for_tests([("server.port", "8080")]);
    config.update("server.port", 9000).unwrap();
    assert_eq!(origin(&config, "server.port"), "run-time update");
    config.update("server.port", Value::Null).unwrap();
    assert_eq!(
        (config.get::<Server>().port, origin(&config, "server.port").as_str()),
        (8080, "command line")
    );
}

#[test]
fn the_version_counts_changes_of_values_only() {
    let config = Config::for_tests([]);
    config.update("server.port", 3000).unwrap();
    assert_eq!(config.version(), 0);
    config.update("server.port", 3001).unwrap();
    config.update("server.port", 3001).unwrap();
    assert_eq!(config.version(), 1);
    assert_eq!(config.snapshot().version(), 1);
}

#[tokio::test]
async fn a_watcher_wakes_only_when_its_own_section_really_changed() {
    let config = Config::for_tests([]);
    let mut watch = config.watch::<Log>();
    assert_eq!(watch.current().level, Level::Info);
    config.update("server.port", 1).unwrap();
    config.update("log.level", "INFO").unwrap();
    assert!(watch.changed().now_or_never().is_none(), "nothing changed in [log]");
    config.update("log.level", "warn").unwrap();
    assert_eq!(watch.changed().await.unwrap().level, Level::Warn);
    assert!(watch.changed().now_or_never().is_none(), "each change is told once");
}

#[tokio::test]
async fn a_change_is_not_lost_when_the_wait_for_it_is_dropped() {
    let config = Config::for_tests([]);
    let mut watch = config.watch::<Log>();
    assert!(watch.changed().now_or_never().is_none());
    config.update("log.level", "warn").unwrap();
    drop(watch.changed());
    assert_eq!(watch.changed().await.unwrap().level, Level::Warn);
}

#[tokio::test]
async fn a_watcher_ends_when_the_configuration_is_gone() {
    let config = Config::for_tests([]);
    let mut watch = config.watch::<Log>();
    drop(config);
    assert!(watch.changed().await.is_none());
    assert_eq!(watch.current().level, Level::Info);
}

#[test]
fn two_configurations_in_one_process_do_not_know_each_other() {
    let (one, two) = (Config::for_tests([]), Config::for_tests([]));
    one.update("server.port", 1).unwrap();
    assert_eq!(two.get::<Server>().port, 3000);
}

#[test]
fn clones_are_the_same_configuration() {
    let config = Config::for_tests([]);
    config.clone().update("server.port", 1).unwrap();
    assert_eq!(config.get::<Server>().port, 1);
}

#[test]
fn values_updated_together_are_always_seen_together() {
    let config =
        Config::for_tests([("rate_limit.max_requests", "1"), ("rate_limit.window", "1"), ("PORT", "1")]);
    let done = AtomicBool::new(false);
    let writer = |from: u16| {
        for n in (from..2_000).step_by(2).map(Value::from) {
            let all = ["rate_limit.max_requests", "rate_limit.window", "server.port"];
            config.update_all(all.map(|path| (path, n.clone()))).unwrap();
        }
    };
    let reader = || {
        let mut last = 0;
        while !done.load(Ordering::Relaxed) {
            let snapshot = config.snapshot();
            let (limit, server) = (snapshot.get::<RateLimit>(), snapshot.get::<Server>());
            let seen = (u128::from(limit.max_requests), limit.window.as_millis());
            assert_eq!(seen, (server.port.into(), server.port.into()));
            let alone = config.get::<RateLimit>();
            assert_eq!(u128::from(alone.max_requests), alone.window.as_millis());
            assert!(snapshot.version() >= last, "versions go forward");
            last = snapshot.version();
        }
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        let writers = [scope.spawn(move || writer(2)), scope.spawn(move || writer(3))];
        let written = writers.map(|writer| writer.join());
        done.store(true, Ordering::Relaxed);
        for outcome in readers.map(|reader| reader.join()).into_iter().chain(written) {
            outcome.unwrap();
        }
    });
}
