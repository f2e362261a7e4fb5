//! Black-box tests of whole apps in one process, over real sockets. One module per subject: `app` (what starts, and
//! what does not), `listeners` (ports), `sign_in` (keys), `primitives` (cache, locks, limits, events), `events` (the bus
//! on every store), `event_chaos` (events of processes that die), `stop`, `otlp` (export of traces); `support` helps
//! them. A new test goes into the module of the promise it proves.
#![allow(missing_docs, clippy::unwrap_used)]

mod app;
mod event_chaos;
mod events;
mod listeners;
#[cfg(feature = "otlp")]
mod otlp;
mod primitives;
mod sign_in;
mod stop;
mod support;
