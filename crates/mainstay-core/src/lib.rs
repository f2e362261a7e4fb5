//! The ground and the first floor of Mainstay: contracts and in-process implementations that need
//! no Redis, SQL, HTTP or crypto dependency.
//!
//! Level 0 (imported by anyone): [`metrics`], [`secret`], [`task`], [`telemetry`].
//! Level 1 (never import each other): [`config`], [`container`], [`health`], [`lifecycle`].

pub mod config;
pub mod container;
pub mod health;
pub mod lifecycle;
pub mod metrics;
pub mod secret;
pub mod task;
pub mod telemetry;
