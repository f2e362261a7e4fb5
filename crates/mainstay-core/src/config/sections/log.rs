//! `[log]`

use serde::{Deserialize, Serialize};

use crate::config::field::{Field, Kind};
use crate::config::section::{Section, defaults};

/// Least severe level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
#[allow(missing_docs)] // the variants are the usual names
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The name as in `LOG_LEVEL`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines: one JSON object for each line.
    Json,
}

/// What is logged and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Log {
    /// `LOG_LEVEL`
    pub level: LogLevel,
    /// `LOG_FORMAT`
    pub format: LogFormat,
    /// `DEBUG`: categories logged at debug level; `*` means all.
    pub debug: Vec<String>,
}

impl Section for Log {
    const NAME: &'static str = "log";
    const FIELDS: &'static [Field] = &[
        Field::new(
            "level",
            Kind::Enum(&["off", "error", "warn", "info", "debug", "trace"]),
            "Least severe level that is logged",
        )
        .env(&["LOG_LEVEL"])
        .default("info"),
        Field::new("format", Kind::Enum(&["pretty", "json"]), "How a line looks")
            .env(&["LOG_FORMAT"])
            .default_by_environment("pretty", "json")
            .restart_only(),
        Field::new("debug", Kind::List, "Categories logged at debug level; `*` means all")
            .env(&["DEBUG"])
            .default(""),
    ];
}

impl Default for Log {
    fn default() -> Self {
        defaults()
    }
}
