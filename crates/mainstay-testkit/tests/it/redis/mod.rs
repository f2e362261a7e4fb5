//! Promises of `redis`: the servers, and the faults a test gives them.

mod clock;
mod cluster;
mod proxy;
mod sentinels;
mod server;
