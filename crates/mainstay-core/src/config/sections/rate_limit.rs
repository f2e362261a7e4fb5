//! `[rate_limit]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check;
use crate::config::field::{Field, Kind};
use crate::config::section::{Checks, Section, defaults};

const LONGEST_WINDOW: Duration = Duration::from_secs(365 * 24 * 3600);

/// How much one client may ask of `/api/`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RateLimit {
    /// `RATE_LIMIT_WINDOW_MS`
    #[serde(with = "crate::config::millis")]
    pub window: Duration,
    /// `RATE_LIMIT_MAX_REQUESTS`: requests of one client in one window.
    pub max_requests: u32,
    /// `TRUSTED_PROXIES`: addresses and networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// `RATE_LIMIT_MAX_KEYS`: clients and other keys counted apart in this process.
    pub max_keys: u32,
    /// `RATE_LIMIT_OUTAGE`: what is decided while the shared store is slow or gone.
    pub outage: RateLimitOutage,
    /// `RATE_LIMIT_INSTANCES`: processes that share the limits; each admits its part while the store is gone.
    pub instances: u32,
}

/// What is decided while the shared store is slow or gone, where a quota says nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RateLimitOutage {
    /// Each process admits its share.
    Local,
    /// Nobody is admitted.
    Deny,
    /// Everybody is admitted.
    Allow,
}

impl Section for RateLimit {
    const NAME: &'static str = "rate_limit";
    const FIELDS: &'static [Field] = &[
        Field::new("window", Kind::PERIOD, "Length of the window")
            .env(&["RATE_LIMIT_WINDOW_MS"])
            .default("15m"),
        Field::new(
            "max_requests",
            Kind::Integer { min: 1, max: u32::MAX as i64 },
            "Requests of one client in one window",
        )
        .env(&["RATE_LIMIT_MAX_REQUESTS"])
        .default("100"),
        Field::new(
            "trusted_proxies",
            Kind::List,
            "Addresses and networks whose `X-Forwarded-For` is believed",
        )
        .env(&["TRUSTED_PROXIES"])
        .default("")
        .check("addresses or networks such as 10.0.0.0/8,::1", check::network),
        Field::new(
            "max_keys",
            Kind::Integer { min: 1, max: 100_000_000 },
            "Clients and other keys counted apart in this process",
        )
        .env(&["RATE_LIMIT_MAX_KEYS"])
        .default("100000")
        .restart_only(),
        Field::new(
            "outage",
            Kind::Enum(&["local", "deny", "allow"]),
            "What is decided while the shared store is slow or gone: each instance admits its share, nobody is admitted, everybody is",
        )
        .env(&["RATE_LIMIT_OUTAGE"])
        .default("local")
        .restart_only(),
        Field::new(
            "instances",
            Kind::Integer { min: 1, max: 1_000_000 },
            "Processes that share the limits; each admits its part while the store is gone",
        )
        .env(&["RATE_LIMIT_INSTANCES"])
        .default("1")
        .restart_only(),
    ];

    fn validate(&self, checks: &mut Checks<'_>) {
        if self.window > LONGEST_WINDOW {
            checks.refuse(&["window"], "must not be longer than 365d");
        }
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        defaults()
    }
}
