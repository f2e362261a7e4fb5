//! `[redis]`

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check;
use crate::config::field::{Field, Kind};
use crate::config::section::{Checks, Section, defaults};
use crate::secret::Secret;

const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The shared store. With neither `url` nor `host` the service uses its in-process backends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Redis {
    /// `REDIS_URL`: instead of the single settings; secret because it may hold a password.
    pub url: Option<Secret<String>>,
    /// `REDIS_HOST`
    pub host: Option<String>,
    /// `REDIS_PORT`
    pub port: u16,
    /// `REDIS_USERNAME`
    pub username: Option<String>,
    /// `REDIS_PASSWORD`
    pub password: Option<Secret<String>>,
    /// `REDIS_DB`: number of the database.
    pub db: u16,
    /// `REDIS_RETRY_DELAY`: wait before the first retry.
    #[serde(with = "crate::config::millis")]
    pub retry_delay: Duration,
    /// `REDIS_MAX_RETRIES`: further attempts of one command.
    pub max_retries: u32,
    /// `REDIS_TLS`
    pub tls: bool,
    /// `REDIS_TLS_CA`: file with the authorities to trust instead of the system's.
    pub tls_ca: Option<PathBuf>,
    /// `REDIS_CONNECTIONS`: connections to each server that share the commands.
    pub connections: u16,
    /// `REDIS_TIMEOUT`: longest wait for the answer of one command, its repetitions included.
    #[serde(with = "crate::config::millis")]
    pub timeout: Duration,
    /// `REDIS_NAMESPACE`: begins every key; services that share a server must not share it.
    pub namespace: Option<String>,
    /// `REDIS_ALLOW_UNSAFE`: start although the server is set up so that locks and limits may be lost.
    pub allow_unsafe: bool,
}

impl Section for Redis {
    const NAME: &'static str = "redis";
    const FIELDS: &'static [Field] = &[
        Field::new("url", Kind::Secret, "Deployment to use, instead of the single settings")
            .env(&["REDIS_URL"])
            .check(
                "a URL that starts with redis://, rediss://, redis+sentinel:// or redis+cluster://",
                check::redis_url,
            )
            .restart_only(),
        Field::new("host", Kind::Text, "Host; unset means in-process backends")
            .env(&["REDIS_HOST"])
            .restart_only(),
        Field::new("port", Kind::Integer { min: 1, max: 65_535 }, "Port")
            .env(&["REDIS_PORT"])
            .default("6379")
            .restart_only(),
        Field::new("username", Kind::Text, "User").env(&["REDIS_USERNAME"]).restart_only(),
        Field::new("password", Kind::Secret, "Password").env(&["REDIS_PASSWORD"]).restart_only(),
        Field::new("db", Kind::Integer { min: 0, max: 65_535 }, "Number of the database")
            .env(&["REDIS_DB"])
            .default("0")
            .restart_only(),
        Field::new("retry_delay", Kind::DURATION, "Wait before the first retry")
            .env(&["REDIS_RETRY_DELAY"])
            .default("100ms")
            .restart_only(),
        Field::new("max_retries", Kind::Integer { min: 0, max: 100 }, "Further attempts of one command")
            .env(&["REDIS_MAX_RETRIES"])
            .default("3")
            .restart_only(),
        Field::new("tls", Kind::Bool, "Whether to encrypt the connection")
            .env(&["REDIS_TLS"])
            .default("false")
            .restart_only(),
        Field::new("tls_ca", Kind::Text, "File with the authorities to trust instead of the system's")
            .env(&["REDIS_TLS_CA"])
            .restart_only(),
        Field::new(
            "connections",
            Kind::Integer { min: 1, max: 64 },
            "Connections to each server that share the commands",
        )
        .env(&["REDIS_CONNECTIONS"])
        .default("2")
        .restart_only(),
        Field::new(
            "timeout",
            Kind::PERIOD,
            "Longest wait for the answer of one command, its repetitions included",
        )
        .env(&["REDIS_TIMEOUT"])
        .default("400ms")
        .restart_only(),
        Field::new("namespace", Kind::Text, "Begins every key; unset means the service's name")
            .env(&["REDIS_NAMESPACE"])
            .restart_only(),
        Field::new(
            "allow_unsafe",
            Kind::Bool,
            "Start although the server is set up so that locks and limits may be lost",
        )
        .env(&["REDIS_ALLOW_UNSAFE"])
        .default("false")
        .restart_only(),
    ];

    fn validate(&self, checks: &mut Checks<'_>) {
        if self.url.is_some() && self.host.is_some() {
            checks.refuse(&["url", "host"], "cannot be combined with a host; set one of them");
        }
        if self.timeout > LONGEST_TIMEOUT {
            checks.refuse(&["timeout"], "must not be longer than 30s: every call may wait as long");
        }
    }
}

impl Default for Redis {
    fn default() -> Self {
        defaults()
    }
}
