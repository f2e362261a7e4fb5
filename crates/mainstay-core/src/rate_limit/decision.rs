use std::borrow::Cow;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smallvec::SmallVec;

use super::policy::derived_name;
use super::store::Receipt;
use crate::time::micros;

/// What a limiter says of one charge.
///
/// A clone is for reading: only the original can be refunded, and only once.
#[derive(Debug)]
#[non_exhaustive]
pub struct Decision {
    /// Whether the request may go on. Then its cost has been charged, unless this was a peek.
    pub allowed: bool,
    /// The quota's limit.
    pub limit: u32,
    /// The quota's window.
    pub window: Duration,
    /// What is left now. During an outage of what this process may admit by itself.
    pub remaining: u32,
    /// How long to wait before the same request would be admitted, if no other comes in between; at most
    /// W·(1 + 1/k). `None` if it is allowed, or if waiting cannot help as it costs more than ever fits.
    pub retry_after: Option<Duration>,
    /// When everything is free again if nothing more is charged.
    pub reset_after: Duration,
    /// Whether the store was slow or gone, and the outage policy has decided.
    pub degraded: bool,
    pub(super) name: Option<&'static str>,
    pub(super) refusal: Option<Refusal>,
    pub(super) charged: Charged,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The limit is reached: HTTP 429.
    Limit,
    /// It costs more than ever fits: HTTP 429, and no use in coming back.
    Never,
    /// The store is slow or gone and the outage policy turns the request away: HTTP 503.
    Outage,
    /// This limit had room, and another one of the same call had not.
    Other,
}

impl Decision {
    /// Why it is not allowed; `None` if it is.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// The name of the quota, given or made of limit and window.
    #[must_use]
    pub fn policy(&self) -> Cow<'static, str> {
        match self.name {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(derived_name(self.limit, micros(self.window))),
        }
    }
}

impl Clone for Decision {
    fn clone(&self) -> Self {
        Self { charged: Charged::nothing(), ..*self }
    }
}

/// What a decision charged, to be given back once.
#[derive(Debug)]
pub(super) struct Charged {
    pub(super) receipt: Option<Receipt>,
    /// Whose state was charged: the store's, or that of this process.
    pub(super) local: bool,
    /// A hash of key and policy, so that a decision is not refunded to another.
    pub(super) owner: u64,
    refunded: AtomicBool,
}

impl Charged {
    pub(super) const fn nothing() -> Self {
        Self { receipt: None, local: false, owner: 0, refunded: AtomicBool::new(false) }
    }

    pub(super) const fn new(receipt: Receipt, local: bool, owner: u64) -> Self {
        Self { receipt: Some(receipt), local, owner, refunded: AtomicBool::new(false) }
    }

    /// The receipt, to the first who asks.
    pub(super) fn redeem(&self) -> Option<Receipt> {
        self.receipt.filter(|_| !self.refunded.swap(true, Ordering::Relaxed))
    }

    /// Gives the receipt back: nothing has happened.
    pub(super) fn restore(&self) {
        self.refunded.store(false, Ordering::Relaxed);
    }
}

/// What a limiter says of several charges: all of them were made, or none.
///
/// Reads as a slice of [`Decision`]s in the order of the charges.
#[derive(Debug, Clone)]
pub struct Decisions(pub(super) SmallVec<[Decision; 1]>);

impl Decisions {
    /// Whether the request may go on: all limits had room, and all were charged.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.iter().all(|decision| decision.allowed)
    }

    /// The one to tell the client about: the refusal that waits longest, or else the one with the least
    /// left. `None` without charges.
    #[must_use]
    pub fn tightest(&self) -> Option<&Decision> {
        let wait = |decision: &&Decision| match decision.refusal {
            None | Some(Refusal::Other) => Duration::ZERO,
            Some(_) => decision.retry_after.unwrap_or(Duration::MAX),
        };
        self.iter().max_by_key(|decision| (wait(decision), std::cmp::Reverse(decision.remaining)))
    }
}

impl Deref for Decisions {
    type Target = [Decision];

    fn deref(&self) -> &[Decision] {
        &self.0
    }
}
