//! Black-box tests of `mainstay-testkit`, one module per helper.
#![allow(missing_docs, clippy::unwrap_used)]
mod http;
mod program;
mod redis;
mod seed;
mod service;
mod sql;
mod wait;
mod worker;
