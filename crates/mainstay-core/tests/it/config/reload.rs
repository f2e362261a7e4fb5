use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::config::{Config, Log, RateLimit, Redis, Server};
use mainstay_core::task::TaskGroup;
use mainstay_core::telemetry::Level;
use tempfile::{TempDir, tempdir};
use tracing::subscriber::DefaultGuard;

use super::{origin, with_env, with_files, write};

/// A directory with one file, a configuration from it, and the task that follows it.
struct Followed {
    dir: TempDir,
    config: Config,
    tasks: TaskGroup,
}

impl Followed {
    fn start(text: &str) -> Self {
        let dir = tempdir().unwrap();
        write(dir.path(), "mainstay.toml", text);
        let config = with_files(dir.path(), []).load().unwrap();
        Self::follow(dir, config)
    }

    fn follow(dir: TempDir, config: Config) -> Self {
        let tasks = TaskGroup::new();
        tasks.spawn("config", config.clone().watch_files(tasks.token()));
        Self { dir, config, tasks }
    }

    fn write(&self, text: &str) {
        write(self.dir.path(), "mainstay.toml", text);
    }

    fn error(&self) -> Option<String> {
        self.config.reload_status().error
    }

    fn limit(&self) -> u32 {
        self.config.get::<RateLimit>().max_requests
    }
}

/// Lets the (paused) time run until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("it never happened");
}

/// Lets the (paused) time run for three looks at the files.
async fn three_polls() {
    tokio::time::sleep(Duration::from_millis(3_500)).await;
}

fn limit(n: u32) -> String {
    format!("[rate_limit]\nmax_requests = {n}\n")
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_applied_and_its_watchers_are_told() {
    let followed = Followed::start(&limit(1));
    let (mut limits, mut log) = (followed.config.watch::<RateLimit>(), followed.config.watch::<Log>());
    followed.write(&limit(2));
    assert_eq!(limits.changed().await.unwrap().max_requests, 2);
    assert_eq!(followed.config.version(), 1);
    let woken = tokio::time::timeout(Duration::from_secs(5), log.changed()).await;
    assert!(woken.is_err(), "[log] did not change");
    followed.tasks.stop(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_file_and_a_removed_key_are_seen() {
    let dir = tempdir().unwrap();
    let config = with_files(dir.path(), []).load().unwrap();
    let followed = Followed::follow(dir, config);
    followed.write(&limit(7));
    until(|| followed.limit() == 7).await;
    followed.write("");
    until(|| followed.limit() == 100).await;
    assert_eq!(origin(&followed.config, "rate_limit.max_requests"), "default");
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_stays_below_the_higher_layers() {
    let dir = tempdir().unwrap();
    write(dir.path(), "mainstay.toml", "");
    let config = with_files(dir.path(), [("PORT", "8080")])
        .overrides([("health.interval".to_owned(), "7s".to_owned())])
        .load()
        .unwrap();
    config.update("log.level", "warn").unwrap();
    let followed = Followed::follow(dir, config);
    followed.write("[server]\nport = 1\n[health]\ninterval = 1\n[log]\nlevel = 'trace'\n[rate_limit]\nmax_requests = 5\n");
    until(|| followed.limit() == 5).await;
    assert_eq!(followed.config.value("server.port"), Some(8080.into()));
    assert_eq!(followed.config.value("health.interval"), Some(7_000.into()));
    assert_eq!(followed.config.get::<Log>().level, Level::Warn);
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_keeps_the_last_good_configuration_and_says_so_until_it_is_mended() {
    let followed = Followed::start(&limit(1));
    for broken in
        ["[rate_limit\n", "[rate_limit]\nmax_requests = 0\n", "[rate_limits]\n", "[log]\nlevel = 3\n"]
    {
        followed.write(&format!("[server]\nport = 4000\n{broken}"));
        until(|| followed.error().is_some_and(|error| error.contains("mainstay.toml:"))).await;
        assert_eq!((followed.limit(), followed.config.get::<Server>().port), (1, 3000));
        followed.write(&limit(1));
        until(|| followed.error().is_none()).await;
    }
    assert_eq!(followed.config.version(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_vanishes_keeps_the_last_good_configuration() {
    let followed = Followed::start(&limit(1));
    std::fs::remove_file(followed.dir.path().join("mainstay.toml")).unwrap();
    until(|| followed.error().is_some_and(|error| error.contains("there is no such file"))).await;
    assert_eq!(followed.limit(), 1);
    followed.write(&limit(2));
    until(|| followed.limit() == 2 && followed.error().is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_restart_waits_for_it_while_the_rest_is_applied() {
    let logs = Logs::capture();
    let followed = Followed::start("[redis]\nport = 1\n");
    followed.write("[redis]\nport = 2\nhost = 'cache'\n[rate_limit]\nmax_requests = 9\n");
    until(|| followed.limit() == 9).await;
    let redis = followed.config.get::<Redis>();
    assert_eq!((redis.port, redis.host.as_deref()), (1, None));
    until(|| followed.config.reload_status().pending_restart == ["redis.host", "redis.port"]).await;
    until(|| logs.count("redis.host, redis.port") == 1).await;
    assert_eq!(followed.config.value("redis.port"), Some(1.into()));
    followed.write("[redis]\nport = 1\n");
    until(|| followed.config.reload_status().pending_restart.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn broken_content_is_logged_once_and_not_once_a_second() {
    let logs = Logs::capture();
    let followed = Followed::start(&limit(1));
    followed.write("[redis]\npassword = 'hunter2\n");
    until(|| followed.error().is_some()).await;
    three_polls().await;
    assert_eq!(logs.count("configuration files refused"), 1);
    followed.write("[redis]\npassword = 'hunter2, still\n");
    until(|| logs.count("configuration files refused") == 2).await;
    assert_eq!(logs.count("hunter2"), 0, "the log must not quote the secret");
    assert!(!followed.error().unwrap().contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_file_written_again_with_the_same_content_changes_nothing() {
    let logs = Logs::capture();
    let followed = Followed::start(&limit(1));
    followed.write(&limit(1));
    three_polls().await;
    assert_eq!((followed.config.version(), logs.count("reloaded")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_changed_secret_file_is_followed_too() {
    let dir = tempdir().unwrap();
    let path = write(dir.path(), "limit", "5\n");
    let config = with_env([("RATE_LIMIT_MAX_REQUESTS_FILE", path.as_str())]).load().unwrap();
    let followed = Followed::follow(dir, config);
    assert_eq!(followed.limit(), 5);
    write(followed.dir.path(), "limit", "6\n");
    until(|| followed.limit() == 6).await;
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn the_swapped_link_of_a_mounted_configmap_is_seen() {
    let link = |dir: &Path, version: &str| {
        std::os::unix::fs::symlink(version, dir.join("..next")).unwrap();
        std::fs::rename(dir.join("..next"), dir.join("..data")).unwrap();
    };
    let dir = tempdir().unwrap();
    for (version, n) in [("..1", 1), ("..2", 2)] {
        std::fs::create_dir(dir.path().join(version)).unwrap();
        write(&dir.path().join(version), "mainstay.toml", &limit(n));
    }
    link(dir.path(), "..1");
    std::os::unix::fs::symlink("..data/mainstay.toml", dir.path().join("mainstay.toml")).unwrap();
    let config = with_files(dir.path(), []).load().unwrap();
    let followed = Followed::follow(dir, config);
    assert_eq!(followed.limit(), 1);
    link(followed.dir.path(), "..2");
    until(|| followed.limit() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn without_files_there_is_nothing_to_follow() {
    let tasks = TaskGroup::new();
    tasks.spawn("config", Config::for_tests([]).watch_files(tasks.token()));
    until(|| tasks.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn following_ends_when_its_owner_says_so() {
    let followed = Followed::start(&limit(1));
    followed.tasks.stop(Duration::from_secs(5)).await.unwrap();
    followed.write(&limit(2));
    three_polls().await;
    assert_eq!(followed.limit(), 1);
}

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    fn capture() -> Captured {
        let logs = Self::default();
        let writer = logs.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        Captured { logs, _guard: tracing::subscriber::set_default(subscriber) }
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Captured {
    logs: Logs,
    _guard: DefaultGuard,
}

impl Captured {
    fn count(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.logs.0.lock().unwrap()).matches(text).count()
    }
}
