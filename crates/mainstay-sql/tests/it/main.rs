//! Black-box tests of `mainstay-sql`, one module per promise. A new test goes into the module whose
//! promise it proves.
#![allow(missing_docs, clippy::unwrap_used)]
mod cached;
mod event;
mod faults;
mod fence;
mod idempotency;
mod migrations;
mod observation;
mod options;
mod pool;
mod processes;
#[cfg(all(feature = "postgres", feature = "mysql"))]
mod servers;
mod session;
mod support;
mod transactions;
mod values;
