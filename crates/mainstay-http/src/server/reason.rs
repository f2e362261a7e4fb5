/// Why the server closed a connection, or refused one: the whole of what a metric's label can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nothing came.
    FirstByte,
    /// The head of a request did not come in time.
    Header,
    /// No request came.
    Idle,
    /// A body came too slowly.
    Body,
    /// An answer was taken too slowly.
    Write,
    /// Too many requests were taken back, or HTTP/2 was flooded otherwise.
    Resets,
    /// What came was not the protocol.
    Protocol,
    /// No TLS handshake, or none in time.
    Handshake,
}

impl Reason {
    pub(crate) const ALL: [Self; 8] = [
        Self::FirstByte,
        Self::Header,
        Self::Idle,
        Self::Body,
        Self::Write,
        Self::Resets,
        Self::Protocol,
        Self::Handshake,
    ];

    /// Whether such a connection costs the server more than a request would, and its client next to nothing.
    pub(crate) const fn is_attack(self) -> bool {
        matches!(self, Self::Resets)
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::FirstByte => "first_byte",
            Self::Header => "header",
            Self::Idle => "idle",
            Self::Body => "body",
            Self::Write => "write",
            Self::Resets => "resets",
            Self::Protocol => "protocol",
            Self::Handshake => "handshake",
        }
    }
}

/// Which cap a connection was refused by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// That of all.
    Total,
    /// That of its client.
    Client,
    /// That of connections of its client that were cut off for an attack.
    Attacker,
}

impl Refused {
    pub(crate) const ALL: [Self; 3] = [Self::Total, Self::Client, Self::Attacker];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Client => "client",
            Self::Attacker => "attacker",
        }
    }

    /// For the log, with what to look at.
    pub(crate) const fn explain(self) -> &'static str {
        match self {
            Self::Total => {
                "MAX_CONNECTIONS are open; http_connections_ended_total tells whether they are an attack"
            }
            Self::Client => "MAX_CONNECTIONS_PER_CLIENT are open; a proxy belongs into TRUSTED_PROXIES",
            Self::Attacker => {
                "too many of its connections were cut off for HTTP/2 resets; a proxy belongs into TRUSTED_PROXIES"
            }
        }
    }
}
