//! Where the servers are, and how they are spoken to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mainstay_core::secret::Secret;

/// Host name or address, and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Name, IPv4 or IPv6 address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Address {
    /// An address.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

/// `host:port`, an IPv6 address in brackets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// What the servers are to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deployment {
    /// One server.
    Standalone(Address),
    /// A primary that sentinels watch and replace.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<Address>,
        /// What they call the primary.
        master: String,
    },
    /// Many primaries that share the keys.
    Cluster {
        /// Some of its members.
        seeds: Vec<Address>,
    },
}

/// How a [`Redis`](crate::Redis) connects.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where.
    pub deployment: Deployment,
    /// User of the access control list. These rights suffice (where keys and channels begin with `ms:`, as all do
    /// that the stores make):
    ///
    /// ```text
    /// ~ms:* &ms:* +@read +@write +@scripting +publish +subscribe +unsubscribe +pubsub|numsub
    /// +time +select +info +client|tracking
    /// ```
    ///
    /// Redis 6.0 knows no `&ms:*`, and wants `+hello` in addition, of the user `default` too. On a Cluster there is
    /// `+cluster` in addition. Without `+info` the audit finds that it knows nothing; without any other, no connection
    /// is made, or what needs it is refused.
    pub username: Option<String>,
    /// Password; `None` for a user that needs none.
    pub password: Option<Secret<String>>,
    /// User of the sentinels' own access control list.
    pub sentinel_username: Option<String>,
    /// Password of the sentinels.
    pub sentinel_password: Option<Secret<String>>,
    /// Number of the database; 0 on a Cluster.
    pub database: u16,
    /// Whether the connections are encrypted. Needs the feature `tls`: without it every connection is refused.
    pub tls: bool,
    /// File with the certificates (PEM) of the authorities to trust. `None`: those of the system.
    pub tls_ca: Option<PathBuf>,
    /// Whether primitives may start on a server that the [audit](crate::Redis::status) finds unsafe for them.
    pub allow_unsafe: bool,
    /// What the server shows in its list of clients.
    pub client_name: String,
    /// Connections to each server that share the commands.
    pub connections: usize,
    /// Longest wait for an answer.
    pub command_timeout: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Pause before a command is sent again.
    pub retry_delay: Duration,
    /// How often a command is sent again, if that is safe.
    pub max_retries: u32,
    /// Commands that may wait for an answer of one connection.
    pub max_in_flight: usize,
}

impl Options {
    /// Options with defaults: 2 connections, 400 ms for an answer, 1 s for a connection, 3 retries after 100 ms,
    /// 10,000 commands in flight.
    #[must_use]
    pub fn new(deployment: Deployment) -> Self {
        Self {
            deployment,
            username: None,
            password: None,
            sentinel_username: None,
            sentinel_password: None,
            database: 0,
            tls: false,
            tls_ca: None,
            allow_unsafe: false,
            client_name: "mainstay".into(),
            connections: 2,
            command_timeout: Duration::from_millis(400),
            connect_timeout: Duration::from_secs(1),
            retry_delay: Duration::from_millis(100),
            max_retries: 3,
            max_in_flight: 10_000,
        }
    }
}
