//! The HTTP host of Mainstay: server, layers, extractors, problem details, and the `/distributed/*`
//! endpoints, on axum and hyper.
//!
//! - [`Host`] and [`Listening`]: listeners with time limits that fire, a connection cap and a drain.
//! - [`Problem`]: errors as RFC 9457 describes them.
//! - [`Json`], [`Path`], [`Query`], [`FenceHeader`]: extractors whose refusals are problems.
//! - [`ETag`], [`IfMatch`]: conditional requests.
//! - [`RateLimitLayer`], [`TrustedProxies`]: limits per client, and who that is behind proxies.
//! - [`ResponseCacheLayer`]: answers of GET routes, kept and given again.
//! - [`Routes`]: every route with the rule of who may use it, and the [`Caller`].
//! - [`ConcurrencyLayer`]: how many requests are in flight at once.
//! - [`EventStreams`]: events as they happen, to browsers.
//! - [`endpoint`]: what every service answers.

pub mod access;
mod auth;
pub mod client;
pub mod endpoint;
mod etag;
mod extract;
mod layer;
mod probe;
mod problem;
mod server;
mod sse;

pub use auth::{Caller, RouteEntry, Routes, Rule};
pub use client::{Client, InvalidNetwork, TrustedProxies};
pub use etag::{ETag, IfMatch, not_modified};
pub use extract::{FenceHeader, InvalidFenceHeader, Json, Path, Query};
pub use layer::{ConcurrencyLayer, ConcurrencyLimited, ConcurrencyRule};
pub use layer::{RateLimitFields, RateLimitLayer, RateLimitRule, RateLimited, RequestContext};
pub use layer::{ResponseCacheLayer, ResponseCacheRule, ResponseCached, ResponseTarget};
pub use probe::{ProbeError, http_check, probe, probe_own, send_once};
pub use problem::{FieldError, PROBLEM_JSON, Problem, ProblemBody};
pub use server::{BindError, Connection, Host, Limits, Listening, Tls, TlsError, Unfinished};
pub use sse::{EventStreamOptions, EventStreams, LastEventId};
