//! The ground and the first floor of Mainstay: contracts and in-process implementations that need
//! no Redis, SQL or HTTP dependency.
//!
//! Level 0 (imported by anyone): [`backoff`], [`budget`], [`codec`], [`deadline`], [`key`], [`metrics`], [`policy`],
//! [`secret`], [`store`], [`task`], [`telemetry`], [`time`].
//! Level 1 (never import each other): [`adaptive`], [`breaker`], [`bulkhead`], [`cache`], [`config`], [`container`],
//! [`event`], [`health`], [`hedge`], [`lifecycle`], [`lock`], [`rate_limit`], [`retry`], [`shed`]. Above five of them:
//! [`pipeline`].

pub mod adaptive;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod bulkhead;
pub mod cache;
pub mod codec;
pub mod config;
pub mod container;
pub mod deadline;
pub mod event;
pub mod health;
pub mod hedge;
pub mod key;
mod latency;
pub mod lifecycle;
pub mod lock;
pub mod metrics;
pub mod pipeline;
pub mod policy;
pub mod rate_limit;
pub mod retry;
pub mod secret;
pub mod shed;
pub mod store;
pub mod task;
pub mod telemetry;
pub mod time;
