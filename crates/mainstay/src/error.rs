use mainstay_core::{config, container, telemetry};
use mainstay_http::{BindError, TlsError};

/// Why an app did not start. The text is for the person at the terminal and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration has problems; all of them are listed.
    #[error("{0}")]
    Config(#[from] config::Problems),
    /// The log cannot be set up.
    #[error("telemetry: {0}")]
    Telemetry(#[from] telemetry::Error),
    /// The export of traces cannot be set up.
    #[error("traces: {0}")]
    Traces(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database cannot be opened or migrated.
    #[error("database: {0}")]
    Database(#[from] mainstay_sql::Error),
    /// Redis is addressed wrongly, or set up so that locks could be lost.
    #[error("redis: {0}")]
    Redis(String),
    /// The settings of tokens do not go together.
    #[error("sign-in: {0}")]
    Auth(String),
    /// A component is missing, misused, or failed to build or start.
    #[error("{0}")]
    Container(#[from] container::Error),
    /// A client of the service's own cannot be made.
    #[error("client: {0}")]
    Client(#[from] mainstay_client::Error),
    /// A health check of the service's own is not valid.
    #[error("health: {0}")]
    Health(#[from] mainstay_core::health::Error),
}

/// Why an app stopped serving with an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address could not be opened.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// `TLS_CERT` and `TLS_KEY` cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// `HEALTH_CHECK_PATH` or `METRICS_PATH` names a route that the service has itself.
    #[error("{path} is a route of the service: choose another HEALTH_CHECK_PATH or METRICS_PATH")]
    PathTaken {
        /// The path.
        path: String,
    },
    /// Two routes clash, or a path is not one; the service's own, `HEALTH_CHECK_PATH` and
    /// `METRICS_PATH` included.
    #[error("the routes do not fit together: {why} (HEALTH_CHECK_PATH and METRICS_PATH are routes, too)")]
    Routes {
        /// What the router says.
        why: String,
    },
    /// A component failed to start.
    #[error("{0}")]
    Start(#[from] container::Error),
    /// The handlers for SIGTERM and SIGINT could not be installed.
    #[error("cannot listen to signals: {0}")]
    Signals(#[from] std::io::Error),
    /// Requests or components overran their deadlines while the app stopped. The log names them.
    #[error("the shutdown was not clean; see the log")]
    Unclean,
}
