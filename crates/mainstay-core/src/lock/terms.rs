//! What a request asks for, and its bounds.

use std::time::Duration;

use super::{Error, Fence, Options};

/// Shorter leases would be over before their safety margin.
const MIN_TTL: Duration = Duration::from_millis(10);
const MAX_TTL: Duration = Duration::from_secs(24 * 3600);
pub(super) const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);
/// A cancelled attempt is remembered for longer than this.
const MAX_OP_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Bounds the state of one key.
pub(super) const MAX_PERMITS: u32 = 10_000;
const MAX_RETRIES: u32 = 1_000;
const MIN_RETRY_DELAY: Duration = Duration::from_millis(1);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(3600);

/// The options of a request; what is `None` comes from the handle's [`Options`].
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) permits: u32,
    pub(super) ttl: Option<Duration>,
    pub(super) patience: Option<Patience>,
    pub(super) max_hold: Option<Duration>,
    pub(super) floor: Fence,
}

/// What to do while others hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Go away.
    Try,
    /// Go away and come back.
    Retry { attempts: u32, delay: Duration },
    /// Stand in line.
    Wait(Duration),
}

/// Terms within their bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    pub(super) permits: u32,
    pub(super) ttl: Duration,
    pub(super) patience: Patience,
    pub(super) max_hold: Duration,
    pub(super) floor: Fence,
}

impl Terms {
    pub(super) fn new(permits: u32) -> Self {
        Self { permits, ttl: None, patience: None, max_hold: None, floor: Fence::default() }
    }

    pub(super) fn check(&self, options: &Options) -> Result<Checked, Error> {
        let ttl = self.ttl.unwrap_or(options.ttl);
        let patience = self.patience.unwrap_or(Patience::Wait(options.wait));
        let max_hold = self.max_hold.unwrap_or_else(|| options.max_hold.max(ttl));
        let within = |holds: bool, field, reason| holds.then_some(()).ok_or(Error::Option { field, reason });
        within((MIN_TTL..=MAX_TTL).contains(&ttl), "ttl", "must be between 10 ms and 24 h")?;
        within((1..=MAX_PERMITS).contains(&self.permits), "permits", "must be between 1 and 10000")?;
        within(options.op_timeout <= MAX_OP_TIMEOUT, "op_timeout", "must be at most 24 h")?;
        within(max_hold >= ttl, "max_hold", "must not be shorter than ttl")?;
        match patience {
            Patience::Try => {}
            Patience::Wait(wait) => within(wait <= MAX_WAIT, "wait", "must be at most 24 h")?,
            Patience::Retry { attempts, delay } => {
                within(attempts <= MAX_RETRIES, "retry attempts", "must be at most 1000")?;
                let delays = MIN_RETRY_DELAY..=MAX_RETRY_DELAY;
                within(
                    attempts == 0 || delays.contains(&delay),
                    "retry delay",
                    "must be between 1 ms and 1 h",
                )?;
            }
        }
        Ok(Checked { permits: self.permits, ttl, patience, max_hold, floor: self.floor })
    }
}
