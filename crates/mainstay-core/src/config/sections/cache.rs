//! `[cache]`

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
    ];
}

impl Default for Cache {
    fn default() -> Self {
        defaults()
    }
}
