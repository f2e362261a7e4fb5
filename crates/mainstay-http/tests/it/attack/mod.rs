//! Attacks over real sockets. The limits are scaled down by configuration, so that what takes half a minute in
//! production takes a second here. `MAINSTAY_ROUNDS` multiplies the attackers up to 5,000.

mod frames;
mod http2;
mod slow;

use std::time::Duration;

use mainstay_http::Limits;

use crate::TestHost;

/// The promise: attackers are gone within 30 s, also at the limits of production.
const PROMISE: Duration = Duration::from_secs(30);

/// By how much the attack is greater than in continuous integration.
fn scale() -> u32 {
    std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse::<u32>().expect("a number")).min(10)
}

/// How many attackers come at once.
fn attackers() -> usize {
    500 * scale() as usize
}

/// A tenth and less of what production allows; more of it for more attackers, who need longer to come.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.header_timeout = Duration::from_millis(600) * scale();
    limits.body_timeout = Duration::from_millis(600) * scale();
    limits.idle_timeout = Duration::from_millis(600) * scale();
    limits.request_timeout = Duration::from_millis(1_000) * scale();
    // Of a test's own machine they are all one client.
    limits.max_connections_per_client = limits.max_connections;
    limits
}

fn connections(server: &TestHost) -> u64 {
    server.count("http_connections")
}

fn ended(server: &TestHost, reason: &str) -> u64 {
    server.count(&format!("http_connections_ended_total{{reason=\"{reason}\"}}"))
}
