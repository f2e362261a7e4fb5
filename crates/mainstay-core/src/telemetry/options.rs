use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::{Layer, Registry};

use super::Error;

/// A layer of the caller's that sees the same spans and events, for instance an OTLP exporter.
pub type ExtraLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// What is logged, how and where.
///
/// ```
/// use mainstay_core::telemetry::{Format, Level, Options};
/// let mut options = Options::default().writer(std::io::stderr());
/// options.level = Level::Warn;
/// options.format = Format::Json;
/// options.debug = vec!["db".into()];
/// ```
#[non_exhaustive]
pub struct Options {
    /// Events below this level are not logged. Default `info`.
    pub level: Level,
    /// Default `pretty`.
    pub format: Format,
    /// Categories raised to `debug`: see [`CATEGORIES`](super::CATEGORIES). Default none.
    pub debug: Vec<String>,
    pub(super) writer: Box<dyn io::Write + Send>,
    pub(super) color: bool,
    pub(super) layers: Vec<ExtraLayer>,
}

impl Default for Options {
    /// `info`, `pretty`, to standard output, in colour if that is a terminal and `NO_COLOR` is unset.
    fn default() -> Self {
        Self {
            level: Level::Info,
            format: Format::Pretty,
            debug: Vec::new(),
            writer: Box::new(io::stdout()),
            color: io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()),
            layers: Vec::new(),
        }
    }
}

impl Options {
    /// Writes there instead of to standard output, and without colour. Each line is one `write_all`;
    /// errors are ignored, because a log that cannot be written must not stop the service.
    #[must_use]
    pub fn writer(self, writer: impl io::Write + Send + 'static) -> Self {
        Self { writer: Box::new(writer), color: false, ..self }
    }

    /// Adds a layer that sees what is logged, and every span of level `info` or above.
    #[must_use]
    pub fn layer(mut self, layer: ExtraLayer) -> Self {
        self.layers.push(layer);
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, format, debug, .. } = self;
        f.debug_struct("Options")
            .field("level", level)
            .field("format", format)
            .field("debug", debug)
            .finish_non_exhaustive()
    }
}

/// The shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people: `time level target: message key=value {span=values}`.
    Pretty,
    /// For machines: one JSON object.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    Off,
    /// Somebody must act.
    Error,
    /// Somebody should look.
    Warn,
    /// What happened, for every day.
    Info,
    /// How it happened.
    Debug,
    /// Every step.
    Trace,
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "off" => Ok(Self::Off),
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err(Error::UnknownLevel { level: text.into() }),
        }
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}
