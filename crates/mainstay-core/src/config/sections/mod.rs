//! The built-in sections: every variable a service of this house understands.

mod auth;
mod breaker;
mod cache;
mod check;
mod database;
mod events;
mod health;
mod identity;
mod lock;
mod log;
mod metrics;
mod pipeline;
mod rate_limit;
mod redis;
mod server;

pub use auth::{Auth, JwtAlgorithm, RevocationOutage};
pub use breaker::{Breaker, BreakerMode};
pub use cache::{Cache, CacheCodec, CacheDegrade};
pub use database::{Database, Dialect};
pub use events::Events;
pub use health::Health;
pub use identity::Identity;
pub use lock::Lock;
pub use log::Log;
pub use metrics::Metrics;
pub use pipeline::{Concurrency, Pipeline};
pub use rate_limit::{RateLimit, RateLimitOutage};
pub use redis::Redis;
pub use server::{Environment, Server};

pub(super) use identity::{binary_name, generated_id};

use super::section::SectionDef;

/// Those of which a service declares several, as the reference shows them.
pub(super) fn several() -> [SectionDef; 2] {
    [
        SectionDef::of::<Breaker>().called("breakers.<name>"),
        SectionDef::of::<Pipeline>().called("pipelines.<name>"),
    ]
}

/// All of them, in the order of the reference.
pub(super) fn builtin() -> Vec<SectionDef> {
    vec![
        SectionDef::of::<Server>(),
        SectionDef::of::<Identity>(),
        SectionDef::of::<Redis>(),
        SectionDef::of::<Database>(),
        SectionDef::of::<Metrics>(),
        SectionDef::of::<Health>(),
        SectionDef::of::<Auth>(),
        SectionDef::of::<Cache>(),
        SectionDef::of::<Lock>(),
        SectionDef::of::<RateLimit>(),
        SectionDef::of::<Events>(),
        SectionDef::of::<Log>(),
    ]
}
