//! `[health]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check;
use crate::config::field::{Field, Kind};
use crate::config::section::{Checks, Section, defaults};

/// How the process watches its own health.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// `HEALTH_CHECK_ENABLED`
    pub enabled: bool,
    /// `HEALTH_CHECK_PATH`: short alias of `/distributed/health`.
    pub path: String,
    /// `HEALTH_CHECK_TIMEOUT`: when a check counts as failed.
    #[serde(with = "crate::config::millis")]
    pub timeout: Duration,
    /// `HEALTH_CHECK_INTERVAL`: pause between two runs of a check.
    #[serde(with = "crate::config::millis")]
    pub interval: Duration,
}

impl Section for Health {
    const NAME: &'static str = "health";
    const FIELDS: &'static [Field] = &[
        Field::new("enabled", Kind::Bool, "Whether checks run")
            .env(&["HEALTH_CHECK_ENABLED"])
            .default("true")
            .restart_only(),
        Field::new("path", Kind::Text, "Short alias of `/distributed/health`")
            .env(&["HEALTH_CHECK_PATH"])
            .default("/health")
            .check("a path such as /health", check::url_path)
            .restart_only(),
        Field::new("timeout", Kind::PERIOD, "When a check counts as failed")
            .env(&["HEALTH_CHECK_TIMEOUT"])
            .default("5s"),
        Field::new("interval", Kind::PERIOD, "Pause between two runs of a check")
            .env(&["HEALTH_CHECK_INTERVAL"])
            .default("30s"),
    ];

    fn validate(&self, checks: &mut Checks<'_>) {
        if checks.value("metrics.path").and_then(serde_json::Value::as_str) == Some(self.path.as_str()) {
            checks.refuse(&["path", "metrics.path"], "must differ from the path of the metrics");
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        defaults()
    }
}
