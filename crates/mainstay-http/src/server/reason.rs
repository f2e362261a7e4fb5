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
    /// Too many requests were taken back.
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
}

impl Refused {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Client => "client",
        }
    }

    /// The setting to look at.
    pub(crate) const fn setting(self) -> &'static str {
        match self {
            Self::Total => "MAX_CONNECTIONS",
            Self::Client => "MAX_CONNECTIONS_PER_CLIENT",
        }
    }
}
