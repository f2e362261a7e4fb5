//! `[server]`

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check;
use crate::config::field::{Field, Kind};
use crate::config::section::{Checks, Section, defaults};

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
    /// `IDLE_TIMEOUT`: how long a connection without a request is kept.
    #[serde(with = "crate::config::millis")]
    pub idle_timeout: Duration,
    /// `BODY_TIMEOUT`: longest time a client may send nothing of a body.
    #[serde(with = "crate::config::millis")]
    pub body_timeout: Duration,
    /// `MIN_RATE`: bytes per second a client has to send of a body or take of an answer; 0 asks for none.
    pub min_rate: u32,
    /// `BODY_LIMIT`: largest request body, in bytes.
    pub body_limit: u32,
    /// `MAX_CONNECTIONS`: connections open at once.
    pub max_connections: u32,
    /// `MAX_CONNECTIONS_PER_CLIENT`: of these from one address; those of `TRUSTED_PROXIES` are not counted.
    pub max_connections_per_client: u32,
    /// `MAX_STREAMS`: requests at once on one HTTP/2 connection.
    pub max_streams: u32,
    /// `TLS_CERT`: PEM file with the certificate and its chain; with `TLS_KEY` the service speaks TLS.
    pub tls_cert: Option<PathBuf>,
    /// `TLS_KEY`: PEM file with the private key of the certificate.
    pub tls_key: Option<PathBuf>,
    /// `TLS_HANDSHAKE_TIMEOUT`: longest time for a TLS handshake.
    #[serde(with = "crate::config::millis")]
    pub tls_handshake_timeout: Duration,
    /// `HSTS_MAX_AGE`: how long browsers are told to come by TLS only; 0 tells them nothing.
    #[serde(with = "crate::config::millis")]
    pub hsts_max_age: Duration,
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
        Field::new("idle_timeout", Kind::PERIOD, "How long a connection without a request is kept")
            .env(&["IDLE_TIMEOUT"])
            .default("60s"),
        Field::new("body_timeout", Kind::PERIOD, "Longest time a client may send nothing of a body")
            .env(&["BODY_TIMEOUT"])
            .default("10s"),
        Field::new(
            "min_rate",
            Kind::Integer { min: 0, max: u32::MAX as i64 },
            "Bytes per second a client has to send of a body or take of an answer; 0 asks for none",
        )
        .env(&["MIN_RATE"])
        .default("1024"),
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
        Field::new(
            "max_connections_per_client",
            Kind::Integer { min: 1, max: 1_000_000 },
            "Of these from one IPv4 address or one /64 of IPv6; those of TRUSTED_PROXIES are not counted",
        )
        .env(&["MAX_CONNECTIONS_PER_CLIENT"])
        .default("1000"),
        Field::new(
            "max_streams",
            Kind::Integer { min: 1, max: 10_000 },
            "Requests at once on one HTTP/2 connection",
        )
        .env(&["MAX_STREAMS"])
        .default("128"),
        Field::new(
            "tls_cert",
            Kind::Text,
            "PEM file with the certificate and its chain, read again when it changes; with TLS_KEY the service speaks TLS",
        )
        .env(&["TLS_CERT"])
        .restart_only(),
        Field::new("tls_key", Kind::Text, "PEM file with the private key of the certificate")
            .env(&["TLS_KEY"])
            .restart_only(),
        Field::new("tls_handshake_timeout", Kind::PERIOD, "Longest time for a TLS handshake")
            .env(&["TLS_HANDSHAKE_TIMEOUT"])
            .default("5s"),
        Field::new(
            "hsts_max_age",
            Kind::DURATION,
            "How long browsers are told to come by TLS only, where the service speaks TLS; 0 tells them nothing",
        )
        .env(&["HSTS_MAX_AGE"])
        .default_by_environment("0ms", "365d"),
    ];

    fn validate(&self, checks: &mut Checks<'_>) {
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => checks.refuse(&["tls_cert", "tls_key"], "needs its private key as well"),
            (None, Some(_)) => checks.refuse(&["tls_key", "tls_cert"], "needs its certificate as well"),
            _ => {}
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        defaults()
    }
}
