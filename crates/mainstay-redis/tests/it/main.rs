//! Black-box tests, against real servers started by the testkit. A new test goes into the file of its part.
#![allow(missing_docs, clippy::unwrap_used)]

mod cache;
mod connection;
mod event;
mod lock;
mod rate_limit;
mod topology;
