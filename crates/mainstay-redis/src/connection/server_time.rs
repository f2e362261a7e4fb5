//! A server's calendar, as this process can know it.

use mainstay_core::time::Moment;

/// How a server's calendar runs against this process's clock: its answer to `TIME` lay between question and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTime {
    earliest: i64,
    latest: i64,
}

impl ServerTime {
    /// The server's microseconds were `server` at some moment between `sent` and `heard`.
    pub(crate) fn measured(server: u64, sent: Moment, heard: Moment) -> Self {
        let ahead = |of: Moment| signed(server).saturating_sub(signed(of.as_micros()));
        Self { earliest: ahead(heard), latest: ahead(sent) }
    }

    /// Microseconds of the Unix epoch that the server's calendar shows at `now`, at least.
    #[must_use]
    pub fn earliest(self, now: Moment) -> u64 {
        unsigned(signed(now.as_micros()).saturating_add(self.earliest))
    }

    /// Microseconds of the Unix epoch that the server's calendar shows at `now`, at most.
    #[must_use]
    pub fn latest(self, now: Moment) -> u64 {
        unsigned(signed(now.as_micros()).saturating_add(self.latest))
    }
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

fn unsigned(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0)
}
