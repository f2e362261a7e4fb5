//! `[metrics]`

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check;
use crate::config::field::{Field, Kind};
use crate::config::section::{Checks, Section, defaults};

/// What is measured and where it can be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metrics {
    /// `METRICS_ENABLED`
    pub enabled: bool,
    /// `METRICS_PORT`: a second listener, for the metrics and all else below `/distributed/` that is not open to
    /// everybody; the main port then has none of it. Unset means the main port only.
    pub port: Option<u16>,
    /// `METRICS_HOST`: the address of that listener.
    pub host: IpAddr,
    /// `METRICS_PATH`: short alias of `/distributed/metrics`.
    pub path: String,
    /// `METRICS_COLLECT_INTERVAL`: how often process and runtime figures are taken.
    #[serde(with = "crate::config::millis")]
    pub collect_interval: Duration,
}

impl Section for Metrics {
    const NAME: &'static str = "metrics";
    const FIELDS: &'static [Field] = &[
        Field::new("enabled", Kind::Bool, "Whether metrics are served")
            .env(&["METRICS_ENABLED"])
            .default("true")
            .restart_only(),
        Field::new(
            "port",
            Kind::PORT,
            "Second listener, for the metrics and everything else below `/distributed/` but live, ready and health, which the main port then is without; unset means the main port only",
        )
        .env(&["METRICS_PORT"])
        .restart_only(),
        Field::new("host", Kind::Text, "Address of the second listener; encrypted as the main one unless it is loopback")
            .env(&["METRICS_HOST"])
            .default("127.0.0.1")
            .check("an IP address", check::ip)
            .restart_only(),
        Field::new("path", Kind::Text, "Short alias of `/distributed/metrics`")
            .env(&["METRICS_PATH"])
            .default("/metrics")
            .check("a path such as /metrics", check::url_path)
            .restart_only(),
        Field::new("collect_interval", Kind::PERIOD, "How often process and runtime figures are taken")
            .env(&["METRICS_COLLECT_INTERVAL"])
            .default("1m"),
    ];

    fn validate(&self, checks: &mut Checks<'_>) {
        let main = checks.value("server.port").and_then(serde_json::Value::as_u64);
        if self.port.is_some_and(|port| port != 0 && main == Some(port.into())) {
            checks.refuse(
                &["port", "server.port"],
                "must differ from the main port; leave it unset to use that",
            );
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        defaults()
    }
}
