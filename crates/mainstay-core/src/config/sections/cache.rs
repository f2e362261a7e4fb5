//! `[cache]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::field::{Field, Kind};
use crate::config::section::{Section, defaults};

/// How much the cache may keep, and in which form.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cache {
    /// `CACHE_MAX_BYTES`: what all entries together may weigh in this process.
    pub max_bytes: u64,
    /// `CACHE_MAX_VALUE_BYTES`: the largest encoded value; a larger one is refused.
    pub max_value_bytes: u32,
    /// `CACHE_CODEC`: how values are encoded.
    pub codec: CacheCodec,
    /// `CACHE_DEGRADE`: what `get_or_load` does while the shared store is slow or gone.
    pub degrade: CacheDegrade,
    /// `CACHE_NEAR_TTL`: how long a process keeps what it read from the shared store, at most.
    #[serde(with = "crate::config::millis")]
    pub near_ttl: Duration,
    /// `CACHE_COMPRESS_ABOVE`: larger values are compressed in the shared store.
    pub compress_above: u32,
    /// `CACHE_SCHEMA`: values written under another number count as missing.
    pub schema: u32,
}

/// What `get_or_load` does while the shared store is slow or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CacheDegrade {
    /// Loads in this process, a bounded number at a time.
    Local,
    /// Fails at once: for sources that must not be asked without a cache before them.
    Refuse,
}

/// How values are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CacheCodec {
    /// Readable by people and by other languages.
    Json,
    /// Smaller.
    MessagePack,
}

impl Section for Cache {
    const NAME: &'static str = "cache";
    const FIELDS: &'static [Field] = &[
        Field::new(
            "max_bytes",
            Kind::Integer { min: 65_536, max: 1 << 40 },
            "What all entries together may weigh in this process, in bytes",
        )
        .env(&["CACHE_MAX_BYTES"])
        .default("67108864")
        .restart_only(),
        Field::new(
            "max_value_bytes",
            Kind::Integer { min: 1, max: 512 << 20 },
            "Largest encoded value, in bytes; a larger one is refused",
        )
        .env(&["CACHE_MAX_VALUE_BYTES"])
        .default("1048576")
        .restart_only(),
        Field::new("codec", Kind::Enum(&["json", "messagepack"]), "How values are encoded")
            .env(&["CACHE_CODEC"])
            .default("json")
            .restart_only(),
        Field::new(
            "degrade",
            Kind::Enum(&["local", "refuse"]),
            "What `get_or_load` does while the shared store is slow or gone: load in this process, or fail at once",
        )
        .env(&["CACHE_DEGRADE"])
        .default("local")
        .restart_only(),
        Field::new(
            "near_ttl",
            Kind::PERIOD,
            "How long a process keeps what it read from the shared store, at most",
        )
        .env(&["CACHE_NEAR_TTL"])
        .default("1m")
        .restart_only(),
        Field::new(
            "compress_above",
            Kind::Integer { min: 64, max: 512 << 20 },
            "Larger values are compressed in the shared store, in bytes",
        )
        .env(&["CACHE_COMPRESS_ABOVE"])
        .default("4096")
        .restart_only(),
        Field::new(
            "schema",
            Kind::Integer { min: 0, max: u32::MAX as i64 },
            "Values written under another number count as missing",
        )
        .env(&["CACHE_SCHEMA"])
        .default("0")
        .restart_only(),
    ];
}

impl Default for Cache {
    fn default() -> Self {
        defaults()
    }
}
