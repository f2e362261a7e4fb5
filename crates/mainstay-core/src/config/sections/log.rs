//! `[log]`

use serde::{Deserialize, Serialize};

use crate::config::field::{Field, Kind};
use crate::config::section::{Section, defaults};
use crate::telemetry::{Format, Level};

/// What is logged and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Log {
    /// `LOG_LEVEL`
    pub level: Level,
    /// `LOG_FORMAT`
    pub format: Format,
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
