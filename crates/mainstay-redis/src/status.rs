//! What is known of the servers, for people.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

/// The state of the connection to a deployment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Status {
    /// Whether commands are sent: to every server, on a Cluster.
    pub connected: bool,
    /// `standalone`, `sentinel` or `cluster`.
    pub mode: &'static str,
    /// One entry for each server that commands go to.
    pub servers: Vec<ServerStatus>,
}

impl Status {
    /// A status of these servers.
    pub(crate) const fn new(connected: bool, mode: &'static str, servers: Vec<ServerStatus>) -> Self {
        Self { connected, mode, servers }
    }

    /// What the audits found, over all servers.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.servers.iter().flat_map(|server| &server.findings)
    }
}

/// The state of the connections to one server. What its `INFO` says is at most some 10 s old
/// while it is connected, and from before the connection was lost while it is not.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ServerStatus {
    /// `host:port`.
    pub address: String,
    /// Whether every connection to it is up, and it answers.
    pub connected: bool,
    /// Of the server software.
    pub version: Option<String>,
    /// `master`, as long as nothing else is known.
    pub role: Option<String>,
    /// Since when every connection has been up, by this machine's calendar.
    #[serde(serialize_with = "calendar")]
    pub up_since: Option<Timestamp>,
    /// The last reason why there was no connection, also if there is one again.
    pub last_error: Option<String>,
    /// Whether calls fail at once because the server does not answer.
    pub guard_open: bool,
    /// Commands that wait for their answer.
    pub in_flight: usize,
    /// How long the last answer to a sign of life took.
    #[serde(rename = "roundTripMs", serialize_with = "milliseconds")]
    pub round_trip: Option<Duration>,
    /// Bytes.
    pub memory_used: Option<u64>,
    /// Bytes; `None`: no limit, or not known.
    pub memory_max: Option<u64>,
    /// Connections of all processes.
    pub clients: Option<u64>,
    /// What the audit found.
    pub findings: Vec<Finding>,
}

/// RFC 3339.
fn calendar<S: serde::Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_string()).serialize(serializer)
}

fn milliseconds<S: serde::Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64() * 1e3).serialize(serializer)
}

/// Something about a server that whoever runs it should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A short name that stays the same, such as `eviction`.
    pub code: &'static str,
    /// For people.
    pub message: Cow<'static, str>,
    /// What cannot keep its promise on such a server.
    pub unsafe_for: &'static [Primitive],
}

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Good to know.
    Notice,
    /// It could not be looked at.
    Unknown,
    /// A promise can be broken in some situations.
    Warning,
    /// A promise is broken: what it concerns refuses to start, unless
    /// [`Options::allow_unsafe`](crate::Options::allow_unsafe) says otherwise.
    Unsafe,
}

/// What lies on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Primitive {
    /// Entries may be lost at any time: nothing is unsafe for it.
    Cache,
    /// Leases and fences.
    Locks,
    /// Counters.
    RateLimits,
}
