//! Black-box tests of `mainstay-core`, one module per room. A new test goes into the module of the
//! room it proves; a new room gets a new module here.
#![allow(missing_docs)]
mod config;
mod container;
mod health;
mod lifecycle;
mod metrics;
mod telemetry;
