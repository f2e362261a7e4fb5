//! The decision over the state of one key: arithmetic, and no clock, lock or map.

use super::gcra::Arrival;
use super::policy::{Policy, Rule};
use super::store::{Receipt, Verdict};
use super::window::Counts;
use crate::time::Moment;

/// What either algorithm knows of one key. [`Meter::settle`] comes before every question.
pub(super) trait Meter {
    /// Lets time pass.
    fn settle(&mut self, now: Moment);
    /// Most that can ever fit at once.
    fn capacity(&self) -> u32;
    /// What fits now.
    fn room(&self, now: Moment) -> u32;
    /// When `wanted`, which is at most the capacity, fits if nothing else is charged.
    fn fits_at(&self, now: Moment, wanted: u64) -> Moment;
    /// When all is free again.
    fn empty_at(&self) -> Moment;
    /// Charges what fits.
    fn charge(&mut self, now: Moment, cost: u32) -> Receipt;
    /// Takes a charge back, as far as it still counts.
    fn refund(&mut self, receipt: Receipt);
    /// Whether forgetting all this changes no decision from `now` on, nor the worth of any receipt.
    fn is_idle(&self, now: Moment) -> bool;
}

/// The state of one key under one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Window(Counts),
    Gcra(Arrival),
}

impl State {
    /// Nothing charged yet. `life` tells this state from others that the same receipt might come to.
    pub(super) fn new(policy: &Policy, life: u64) -> Self {
        match policy.rule() {
            Rule::Window(rule) => Self::Window(Counts::new(rule)),
            Rule::Gcra(rule) => Self::Gcra(Arrival::new(rule, life)),
        }
    }

    /// What was charged, as a state of its own. A window needs no life: its receipts name a bucket of the calendar.
    pub(super) fn reborn(self, life: u64) -> Self {
        match self {
            Self::Window(counts) => Self::Window(counts),
            Self::Gcra(arrival) => Self::Gcra(arrival.reborn(life)),
        }
    }

    fn meter(&mut self, now: Moment) -> &mut dyn Meter {
        let meter: &mut dyn Meter = match self {
            Self::Window(counts) => counts,
            Self::Gcra(arrival) => arrival,
        };
        meter.settle(now);
        meter
    }

    /// Whether `cost` fits on top of `pending`, which the same call has set aside. Charges nothing.
    pub(super) fn judge(&mut self, now: Moment, cost: u32, pending: u64) -> Verdict {
        let meter = self.meter(now);
        let wanted = if cost == 0 { 0 } else { pending + u64::from(cost) };
        let remaining = meter.room(now);
        let fits = wanted <= u64::from(remaining);
        let possible = wanted <= u64::from(meter.capacity());
        Verdict {
            fits,
            remaining,
            retry_after: (!fits && possible).then(|| meter.fits_at(now, wanted).saturating_since(now)),
            reset_after: meter.empty_at().saturating_since(now),
            receipt: None,
        }
    }

    /// Charges what was judged to fit.
    pub(super) fn charge(&mut self, now: Moment, cost: u32) -> Verdict {
        let meter = self.meter(now);
        let receipt = (cost > 0).then(|| meter.charge(now, cost));
        Verdict {
            fits: true,
            remaining: meter.room(now),
            retry_after: None,
            reset_after: meter.empty_at().saturating_since(now),
            receipt,
        }
    }

    pub(super) fn refund(&mut self, now: Moment, receipt: Receipt) {
        self.meter(now).refund(receipt);
    }

    /// Until when not even one fits, and when all is free again; `None` if one fits.
    pub(super) fn full(&mut self, now: Moment) -> Option<(Moment, Moment)> {
        let meter = self.meter(now);
        (meter.room(now) == 0).then(|| (meter.fits_at(now, 1), meter.empty_at()))
    }

    pub(super) fn is_idle(&mut self, now: Moment) -> bool {
        self.meter(now).is_idle(now)
    }
}
