//! `[server]`

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check;
use crate::config::field::{Field, Kind};
use crate::config::section::{Section, defaults};

/// What the process runs as; it chooses the second file and a few defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Environment {
    /// On a developer's machine.
    Development,
    /// In an automated test; defaults as in development.
    Test,
    /// Serving real users.
    Production,
}

impl Environment {
    /// The name as in `APP_ENV` and in `mainstay.<env>.toml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Test => "test",
            Self::Production => "production",
        }
    }
}

/// Where and how the service listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Server {
    /// `APP_ENV`, or `NODE_ENV`.
    pub env: Environment,
    /// `HOST`: the address to listen on.
    pub host: IpAddr,
    /// `PORT`; 0 means any free port.
    pub port: u16,
    /// `SHUTDOWN_TIMEOUT`: longest time from the signal to the exit.
    #[serde(with = "crate::config::millis")]
    pub shutdown_timeout: Duration,
    /// `DRAIN_DELAY`: how long to keep serving after readiness turned false.
    #[serde(with = "crate::config::millis")]
    pub drain_delay: Duration,
    /// `CORS_ORIGIN`: origins a browser may call from; empty means none, `*` means any.
    pub cors_origin: Vec<String>,
    /// `REQUEST_TIMEOUT`: longest time a handler may take.
    #[serde(with = "crate::config::millis")]
    pub request_timeout: Duration,
    /// `HEADER_TIMEOUT`: longest time a client may take to send the head of a request.
    #[serde(with = "crate::config::millis")]
    pub header_timeout: Duration,
    /// `BODY_LIMIT`: largest request body, in bytes.
    pub body_limit: u32,
    /// `MAX_CONNECTIONS`: connections open at once.
    pub max_connections: u32,
    /// `SHED_TARGET`: how long work may wait for a thread, all the time, before requests are refused; 0 refuses none.
    #[serde(with = "crate::config::millis")]
    pub shed_target: Duration,
}

impl Section for Server {
    const NAME: &'static str = "server";
    const FIELDS: &'static [Field] = &[
        Field::new("env", Kind::Enum(&["development", "test", "production"]), "What the process runs as")
            .env(&["APP_ENV", "NODE_ENV"])
            .default("development")
            .restart_only(),
        Field::new("host", Kind::Text, "Address to listen on")
            .env(&["HOST"])
            .default_by_environment("127.0.0.1", "0.0.0.0")
            .check("an IP address", check::ip),
        Field::new("port", Kind::PORT, "Port to listen on; 0 means any free one")
            .env(&["PORT"])
            .default("3000"),
        Field::new("shutdown_timeout", Kind::DURATION, "Longest time from the signal to the exit")
            .env(&["SHUTDOWN_TIMEOUT"])
            .default("30s")
            .restart_only(),
        Field::new("drain_delay", Kind::DURATION, "How long to keep serving after readiness turned false")
            .env(&["DRAIN_DELAY"])
            .default_by_environment("0ms", "5s")
            .restart_only(),
        Field::new("cors_origin", Kind::List, "Origins a browser may call from; `*` means any")
            .env(&["CORS_ORIGIN"])
            .default("")
            .check("`*` or origins such as https://app.example", check::origin),
        Field::new("request_timeout", Kind::PERIOD, "Longest time a handler may take")
            .env(&["REQUEST_TIMEOUT"])
            .default("30s"),
        Field::new(
            "header_timeout",
            Kind::PERIOD,
            "Longest time a client may take to send the head of a request",
        )
        .env(&["HEADER_TIMEOUT"])
        .default("10s"),
        Field::new(
            "body_limit",
            Kind::Integer { min: 1, max: u32::MAX as i64 },
            "Largest request body, in bytes",
        )
        .env(&["BODY_LIMIT"])
        .default("1048576"),
        Field::new(
            "shed_target",
            Kind::DURATION,
            "How long work may wait for a thread, all the time, before requests are refused; 0 refuses none",
        )
        .env(&["SHED_TARGET"])
        .default_by_environment("0ms", "20ms"),
        Field::new("max_connections", Kind::Integer { min: 1, max: 1_000_000 }, "Connections open at once")
            .env(&["MAX_CONNECTIONS"])
            .default("10000"),
    ];
}

impl Default for Server {
    fn default() -> Self {
        defaults()
    }
}
