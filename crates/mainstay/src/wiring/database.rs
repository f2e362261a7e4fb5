use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use mainstay_core::config::{self, Config, Dialect};
use mainstay_core::metrics::{Metrics, Unit};
use mainstay_sql::{Database, Error, Migrations, Observer, Options, Synchronous};

/// The open database, and where its data lies, for people and for the disk check.
pub(crate) struct Storage {
    pub(crate) database: Database,
    pub(crate) location: String,
    pub(crate) directory: Option<PathBuf>,
    /// Keeps [`QueryMetrics`] counting.
    _metrics: Arc<Metrics>,
}

/// Opens the database that the configuration names; without one, a SQLite file below `data/`.
pub(crate) async fn open(config: &Config, metrics: &Metrics) -> Result<Storage, Error> {
    let settings = config.get::<config::Database>();
    let (options, path) = options(config, &settings)?;
    let options = match &settings.read_url {
        Some(url) => options.read_from(url.expose())?,
        None => options,
    };
    let counted = Arc::new(metrics.clone());
    let options = options
        .pool_max(settings.pool_max as usize)
        .pool_min(settings.pool_min as usize)
        .acquire_timeout(settings.pool_acquire)
        .idle_timeout(settings.pool_idle)
        .slow_query(settings.slow_query)
        // It carries events, which are not to be lost in a cut of the power.
        .synchronous(Synchronous::Full)
        .observer(Arc::new(QueryMetrics::new(&counted)));
    let location = options.place();
    let database = Database::connect(options).await?;
    export_pools(metrics, &database);
    let directory = path.as_deref().map(directory_of);
    Ok(Storage { database, location, directory, _metrics: counted })
}

/// Where the database is, and its file if it is one.
fn options(config: &Config, settings: &config::Database) -> Result<(Options, Option<PathBuf>), Error> {
    if let Some(url) = &settings.url {
        return Ok((Options::from_url(url.expose())?, sqlite_path(url.expose())));
    }
    let options = match settings.dialect {
        Some(Dialect::Postgres) => Options::postgres(host(settings), name(settings)),
        Some(Dialect::Mysql | Dialect::Mariadb) => Options::mysql(host(settings), name(settings)),
        _ => {
            let service = &config.get::<config::Identity>().service_name;
            let path = settings
                .name
                .as_ref()
                .map_or_else(|| Path::new("data").join(format!("{service}.db")), PathBuf::from);
            return Ok((Options::sqlite(&path), Some(path)));
        }
    };
    let options = settings.port.into_iter().fold(options, Options::port);
    let options = settings.user.iter().fold(options, Options::user);
    let options = settings.password.iter().cloned().fold(options, Options::password);
    Ok((options, None))
}

fn host(settings: &config::Database) -> &str {
    settings.host.as_deref().unwrap_or("localhost")
}

/// Set with every dialect that needs it, or the configuration is refused.
fn name(settings: &config::Database) -> &str {
    settings.name.as_deref().unwrap_or_default()
}

/// The same, brought to the state the service needs.
pub(crate) async fn open_migrated(
    config: &Config,
    metrics: &Metrics,
    migrations: &Migrations,
) -> Result<Storage, Error> {
    let storage = open(config, metrics).await?;
    storage.database.migrate(migrations).await?;
    Ok(storage)
}

fn sqlite_path(url: &str) -> Option<PathBuf> {
    url.strip_prefix("sqlite://").map(PathBuf::from)
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Time of every statement, by its label; labels are static, so clients cannot make series.
///
/// Weak, because the metrics read the pools: the database would keep itself open after its app is gone.
struct QueryMetrics(Weak<Metrics>);

const DURATION: &str = "db_query_duration_seconds";

impl QueryMetrics {
    fn new(metrics: &Arc<Metrics>) -> Self {
        const BUCKETS: &[f64] = &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
        metrics.describe_histogram(
            DURATION,
            Unit::Seconds,
            "Time of a statement on its connection.",
            BUCKETS,
        );
        Self(Arc::downgrade(metrics))
    }
}

impl Observer for QueryMetrics {
    fn on_query(&self, label: &'static str, duration: Duration, outcome: Result<(), &Error>) {
        let Some(metrics) = self.0.upgrade() else { return };
        let outcome = if outcome.is_ok() { "ok" } else { "error" };
        let labels = [("statement", label), ("outcome", outcome)];
        metrics.histogram(DURATION).with(&labels).record_duration(duration);
    }
}

/// State of the pools, read at each scrape.
fn export_pools(metrics: &Metrics, database: &Database) {
    const POOL: &str = "db_pool_connections";
    const TIMEOUT: &str = "db_pool_timeout_seconds";
    metrics.describe_gauge(POOL, Unit::None, "Connections of a pool, by state; `waiting` counts callers.");
    let limits =
        "Longest wait for a connection (`acquire`), and how long one is kept that nobody uses (`idle`).";
    metrics.describe_gauge(TIMEOUT, Unit::Seconds, limits);
    let database = database.clone();
    metrics.collect(move |sink| {
        for pool in database.stats() {
            let states = [
                ("idle", pool.idle),
                ("in_use", pool.in_use),
                ("waiting", pool.waiting),
                ("max", pool.max),
                ("min", pool.min),
            ];
            for (state, count) in states {
                sink.gauge(POOL, &[("pool", pool.name), ("state", state)], count as f64);
            }
            for (limit, time) in [("acquire", pool.acquire_timeout), ("idle", pool.idle_timeout)] {
                sink.gauge(TIMEOUT, &[("pool", pool.name), ("limit", limit)], time.as_secs_f64());
            }
        }
    });
}
