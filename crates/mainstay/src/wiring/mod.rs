//! Where backends are picked and rooms meet: the only place that knows them all.

mod auth;
mod banner;
mod components;
mod database;
mod events;
mod health;
mod host;
mod metrics;
#[cfg(not(feature = "otlp"))]
#[path = "no_otlp.rs"]
mod otlp;
#[cfg(feature = "otlp")]
mod otlp;
mod primitives;
mod redis;
mod reload;
mod resilience;
mod shutdown;
mod telemetry;

pub(crate) use auth::{Auth, SignIn};
pub(crate) use banner::banner;
pub(crate) use components::info;
pub(crate) use database::{Storage, open, open_migrated};
pub(crate) use events::Lent;
pub(crate) use health::{identity, options, register_checks};
pub(crate) use host::{address, admin, allow_files, exposure, limits, tls};
pub(crate) use metrics::{export_health, metrics};
pub(crate) use otlp::{Traces, section};
pub(crate) use primitives::{Primitives, trusted_proxies};
pub(crate) use redis::{open as open_redis, store_status};
pub(crate) use reload::{follow_limits, follow_settings};
pub(crate) use resilience::{Declared, Resilience};
pub(crate) use shutdown::{lifecycle, stop_components};
pub(crate) use telemetry::start_telemetry;
