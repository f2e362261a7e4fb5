//! Mainstay: what a Rust microservice leans on.
//!
//! One dependency gives a service a cache, locks, rate limits, events, configuration, dependency
//! injection, metrics, health, telemetry, data access and an HTTP host, wired into one [`Mainstay`] app. Nothing is global: a process can
//! hold two apps side by side.
//!
//! ```no_run
//! use mainstay::Mainstay;
//! use mainstay::http::{Json, Routes, Rule};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Mainstay::builder("greeter", env!("CARGO_PKG_VERSION")).start().await?;
//! app.metrics().counter("greetings_total").increment(1);
//! let hello = axum::routing::get(async || Json("hello"));
//! app.serve(Routes::new().route(Rule::Public, "/hello", hello)).await?;
//! # Ok(()) }
//! ```
//!
//! What a service leans on it asks for by type in a constructor (`Cache`, `Locks`, `RateLimiter`, `Events` are in the
//! container), or takes from the app:
//!
//! ```
//! use std::time::Duration;
//! use mainstay::cache::Ttl;
//! use mainstay::event::Event;
//! use mainstay::rate_limit::Quota;
//! # use mainstay::Mainstay;
//! # async fn find(id: u32) -> Result<String, std::io::Error> { Ok(format!("user {id}")) }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let app = Mainstay::builder("greeter", "1.0.0").configure(|config| config.no_files().env_vars([("PORT", "0")]))
//! #     .start().await?;
//! let name: String = app.cache().get_or_load("user:7", Ttl::hours(1), move || find(7)).await?;
//! let guard = app.lock("report").ttl(Duration::from_secs(30)).acquire().await?;
//! println!("{name} writes under fence {}", guard.fence());
//! let decision = app.rate_limiter().check("user:7", Quota::per_minute(100)).await?;
//! assert!(decision.allowed);
//! app.events().subscribe("user.created", |event: Event<u32>| async move { println!("welcome, {}", event.data) }).await?;
//! app.events().publish("user.created", &7).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! # Features
//! - `docs` (default): a page at `/docs` that shows the OpenAPI document.
//! - `redis-tls`: encrypted connections to Redis (`rediss://`, `REDIS_TLS`, `REDIS_TLS_CA`).
//! - `otlp`: requests become spans of an OpenTelemetry collector at `OTEL_EXPORTER_OTLP_ENDPOINT`
//!   (`http://host:4318`; unset, nothing is exported), with `OTEL_EXPORTER_OTLP_TIMEOUT` for one
//!   export and `OTEL_TRACES_SAMPLER_ARG` for the share of the traces that begin here.

mod app;
mod builder;
pub mod cli;
mod error;
mod serve;
mod wiring;

pub use app::Mainstay;
pub use builder::Builder;
pub use error::{ServeError, StartError};

pub use mainstay_auth as auth;
pub use mainstay_client as client;
pub use mainstay_core::{
    adaptive, backoff, breaker, budget, bulkhead, cache, codec, config, container, deadline, event, health,
    hedge, lifecycle, lock, metrics, pipeline, policy, rate_limit, retry, secret, shed, store, task,
    telemetry, time,
};
pub use mainstay_http as http;
pub use mainstay_redis as redis;
pub use mainstay_sql as sql;

/// The HTTP framework that handlers are written for.
pub use axum;

/// Routes that document themselves. The derives and `#[utoipa::path]` expect the names `axum` and
/// `utoipa` in scope: `use mainstay::{axum, openapi::utoipa};`.
pub mod openapi {
    pub use utoipa::{self, IntoParams, ToSchema};
    pub use utoipa_axum::{router::OpenApiRouter, routes};
}
