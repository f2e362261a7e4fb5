//! Real Redis servers on private ports, and the faults they meet in production.
//!
//! - [`RedisServer`] is one server that a test kills, freezes, restarts and asks.
//! - [`Sentinels`] is a master with two replicas under three sentinels, failed over with and without loss.
//! - [`Cluster`] is three masters with a replica each, whose slots move.
//! - [`Proxy`] is a wire between a client and a server that is cut, held, delayed, split.
//!
//! Promises: a server listens on 127.0.0.1 only, keeps its files in a temporary directory, answers
//! when its `start` returns, and is killed when its value is dropped, or when the test's process ends
//! without that. A server that does not come up panics with its log.
//!
//! Not promised: that time can be paused. These are real processes, their time is real.

mod builder;
mod clock_shim;
mod cluster;
mod process;
mod proxy;
mod resp;
mod sentinels;
mod server;
mod tls;

pub use builder::RedisServerBuilder;
pub use cluster::Cluster;
pub use proxy::Proxy;
pub use sentinels::Sentinels;
pub use server::RedisServer;

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// How long a server may take to do what it was told, on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often it is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
///
/// If it does not within [`DEADLINE`], with the logs of `servers`.
async fn until(what: &str, servers: &[&RedisServer], mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            sleep(POLL).await;
        }
    };
    if timeout(DEADLINE, wait).await.is_err() {
        let log = |server: &&RedisServer| format!("\n{}:\n{}", server.address(), server.log());
        panic!("not within {DEADLINE:?}: {what}{}", servers.iter().map(log).collect::<String>());
    }
}
