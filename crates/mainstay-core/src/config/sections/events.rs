//! `[events]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::field::{Field, Kind};
use crate::config::section::{Section, defaults};

/// What the event bus keeps and how hard it tries.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Events {
    /// `EVENTS_MAX_QUEUE`: events waiting for one group before publishers are told to slow down.
    pub max_queue: u32,
    /// `EVENTS_MAX_EVENT_BYTES`: the largest event; a larger one is refused.
    pub max_event_bytes: u32,
    /// `EVENTS_CONCURRENCY`: handlers of one subscription that run at once.
    pub concurrency: u16,
    /// `EVENTS_MAX_ATTEMPTS`: how often an event is tried before it becomes a dead letter.
    pub max_attempts: u16,
    /// `EVENTS_VISIBILITY`: how long an event stays with a consumer that gives no sign of life.
    #[serde(with = "crate::config::millis")]
    pub visibility: Duration,
    /// `EVENTS_RETENTION`: how long an event is retained that everybody has finished.
    #[serde(with = "crate::config::millis")]
    pub retention: Duration,
    /// `EVENTS_OUTBOX_KEEP`: how long the outbox keeps what it has handed to Redis.
    #[serde(with = "crate::config::millis")]
    pub outbox_keep: Duration,
    /// `EVENTS_DEGRADED_AFTER`: age of an unhandled event from which on the service counts as degraded.
    #[serde(with = "crate::config::millis")]
    pub degraded_after: Duration,
    /// `EVENTS_MAX_STREAMS`: most browsers and other clients that are sent events at once.
    pub max_streams: u32,
}

impl Section for Events {
    const NAME: &'static str = "events";
    const FIELDS: &'static [Field] = &[
        Field::new(
            "max_queue",
            Kind::Integer { min: 1, max: 10_000_000 },
            "Events waiting for one group before publishers are told to slow down",
        )
        .env(&["EVENTS_MAX_QUEUE"])
        .default("10000")
        .restart_only(),
        Field::new(
            "max_event_bytes",
            Kind::Integer { min: 1, max: 64 << 20 },
            "Largest event, in bytes; a larger one is refused",
        )
        .env(&["EVENTS_MAX_EVENT_BYTES"])
        .default("262144")
        .restart_only(),
        Field::new(
            "concurrency",
            Kind::Integer { min: 1, max: 10_000 },
            "Handlers of one subscription that run at once",
        )
        .env(&["EVENTS_CONCURRENCY"])
        .default("16")
        .restart_only(),
        Field::new(
            "max_attempts",
            Kind::Integer { min: 1, max: 1_000 },
            "How often an event is tried before it becomes a dead letter",
        )
        .env(&["EVENTS_MAX_ATTEMPTS"])
        .default("5")
        .restart_only(),
        Field::new(
            "visibility",
            Kind::Duration { min: Duration::from_millis(100) },
            "How long an event stays with a consumer that gives no sign of life",
        )
        .env(&["EVENTS_VISIBILITY"])
        .default("30s")
        .restart_only(),
        Field::new(
            "retention",
            Kind::Duration { min: Duration::ZERO },
            "How long an event is retained that everybody has finished, for readers that come back",
        )
        .env(&["EVENTS_RETENTION"])
        .default("1h")
        .restart_only(),
        Field::new(
            "outbox_keep",
            Kind::PERIOD,
            "How long the outbox keeps what it has handed to Redis, to hand it over again after a failover",
        )
        .env(&["EVENTS_OUTBOX_KEEP"])
        .default("10m")
        .restart_only(),
        Field::new(
            "degraded_after",
            Kind::PERIOD,
            "Age of an unhandled event from which on the health check `events` warns",
        )
        .env(&["EVENTS_DEGRADED_AFTER"])
        .default("5m"),
        Field::new(
            "max_streams",
            Kind::Integer { min: 0, max: 1_000_000 },
            "Clients that are sent events as they happen, at once; a further one is answered 503",
        )
        .env(&["EVENTS_MAX_STREAMS"])
        .default("1000")
        .restart_only(),
    ];
}

impl Default for Events {
    fn default() -> Self {
        defaults()
    }
}
