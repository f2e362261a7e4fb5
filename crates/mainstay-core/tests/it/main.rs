//! Black-box tests of `mainstay-core`, one module per room. A new test goes into the module of the
//! room it proves; a new room gets a new module here. `hand` and `log` are shared by them.
#![allow(missing_docs, clippy::unwrap_used)]

mod adaptive;
mod breaker;
mod bulkhead;
mod cache;
mod config;
mod container;
mod deadline;
mod event;
mod hand;
mod health;
mod hedge;
mod lifecycle;
mod lock;
mod log;
mod metrics;
mod pipeline;
mod rate_limit;
mod retry;
mod shed;
mod telemetry;
