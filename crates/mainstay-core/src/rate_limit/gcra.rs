//! The generic cell rate algorithm: one number per key, and no steps.

use super::meter::Meter;
use super::store::Receipt;
use crate::time::Moment;

/// The rule: requests at a steady rate, one each ⌈W/L⌉ µs, with a burst of `burst` before it.
///
/// The state is the *theoretical arrival time*: when all that was admitted would have been served at that
/// rate (ITU-T I.371, virtual scheduling). All is whole microseconds, rounded toward refusal. It smooths;
/// it is no cap: a window can hold up to `burst` + L.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gcra {
    interval: u64,
    burst: u32,
}

impl Gcra {
    /// Whether it can be a rule is judged by the quota.
    pub(super) const fn new(limit: u32, window: u64, burst: u32) -> Self {
        let interval = if limit == 0 { 0 } else { window.div_ceil(limit as u64) };
        Self { interval, burst }
    }

    /// Microseconds that earn one request.
    #[must_use]
    pub const fn interval(self) -> u64 {
        self.interval
    }

    /// Most that is admitted at once.
    #[must_use]
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// Microseconds that earn the whole burst: how far the arrival time may run ahead.
    #[must_use]
    pub const fn tolerance(self) -> u64 {
        self.time(self.burst as u64)
    }

    const fn time(self, cost: u64) -> u64 {
        self.interval.saturating_mul(cost)
    }
}

/// The arrival time of one key, and what refunds need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrival {
    rule: Gcra,
    /// The theoretical arrival time.
    time: u64,
    /// The latest moment seen.
    now: u64,
    /// By how much refunds have moved the time back: an older receipt ends that much earlier.
    moved: u64,
    /// Which state this is: a receipt of another one is worth nothing here.
    life: u64,
}

impl Arrival {
    pub(super) const fn new(rule: Gcra, life: u64) -> Self {
        Self { rule, time: 0, now: 0, moved: 0, life }
    }

    /// The same under another name: receipts of the original are worth nothing here, and none of these there.
    pub(super) const fn reborn(self, life: u64) -> Self {
        Self { life, ..self }
    }

    fn next(&self, now: Moment, cost: u64) -> u64 {
        self.time.max(now.as_micros()).saturating_add(self.rule.time(cost))
    }
}

impl Meter for Arrival {
    fn settle(&mut self, now: Moment) {
        self.now = self.now.max(now.as_micros());
    }

    fn capacity(&self) -> u32 {
        self.rule.burst
    }

    /// A clock that steps back finds the arrival time further ahead, and so reopens nothing.
    #[expect(clippy::cast_possible_truncation, reason = "at most the burst")]
    fn room(&self, now: Moment) -> u32 {
        let ahead = self.time.saturating_sub(now.as_micros());
        (self.rule.tolerance().saturating_sub(ahead) / self.rule.interval) as u32
    }

    fn fits_at(&self, now: Moment, wanted: u64) -> Moment {
        Moment::from_micros(self.next(now, wanted).saturating_sub(self.rule.tolerance()))
    }

    fn empty_at(&self) -> Moment {
        Moment::from_micros(self.time)
    }

    /// The receipt holds the end of this charge, as if no refund had ever moved the time.
    fn charge(&mut self, now: Moment, cost: u32) -> Receipt {
        self.time = self.next(now, u64::from(cost));
        Receipt { cost, mark: self.time.saturating_add(self.moved), life: self.life }
    }

    /// Takes back what of the charge is not earned again already.
    fn refund(&mut self, receipt: Receipt) {
        if receipt.life == self.life {
            let end = receipt.mark.saturating_sub(self.moved).min(self.time);
            let returned = self.rule.time(u64::from(receipt.cost)).min(end.saturating_sub(self.now));
            self.time -= returned;
            self.moved = self.moved.saturating_add(returned);
        }
    }

    fn is_idle(&self, now: Moment) -> bool {
        self.time <= now.as_micros()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Pass(u64),
        Take(u32),
        Refund(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_u64..30).prop_map(Step::Pass),
            6 => (1_u32..6).prop_map(Step::Take),
            4 => (0_usize..30).prop_map(Step::Refund),
        ]
    }

    proptest! {
        /// The envelope that defines the algorithm: what was charged and not given back within any span is at most the burst
        /// and what the span has earned.
        #[test]
        fn no_span_holds_more_than_the_burst_and_what_it_earned(
            burst in 1_u32..8,
            steps in vec(step(), 0..60),
        ) {
            let rule = Gcra::new(7, 100, burst);
            let mut time = 1_000_u64;
            let mut arrival = Arrival::new(rule, 1);
            // When, how much time it takes to earn, and its receipt.
            let mut charges: Vec<(u64, u64, Option<Receipt>)> = Vec::new();
            for step in steps {
                let now = Moment::from_micros(time);
                arrival.settle(now);
                match step {
                    Step::Pass(by) => time += by,
                    Step::Take(cost) if cost <= arrival.room(now) => {
                        let receipt = arrival.charge(now, cost);
                        charges.push((time, rule.time(u64::from(cost)), Some(receipt)));
                    }
                    Step::Take(cost) if cost <= burst => {
                        let later = arrival.fits_at(now, u64::from(cost));
                        prop_assert!(later > now);
                        prop_assert!(arrival.room(later) >= cost, "waiting as told must be enough");
                    }
                    Step::Refund(which) if which < charges.len() => {
                        if let Some(receipt) = charges[which].2.take() {
                            let moved = arrival.moved;
                            arrival.refund(receipt);
                            charges[which].1 -= arrival.moved - moved;
                        }
                    }
                    _ => {}
                }
            }
            for (index, (first, ..)) in charges.iter().enumerate() {
                let mut sum = 0;
                for (last, cost, _) in &charges[index..] {
                    sum += cost;
                    prop_assert!(sum <= last - first + rule.tolerance(), "{sum} between {first} and {last}");
                }
            }
        }
    }

    #[test]
    fn a_refund_at_once_is_as_if_nothing_had_been() {
        let (rule, now) = (Gcra::new(10, 1_000, 5), Moment::from_micros(7_000));
        let mut arrival = Arrival::new(rule, 1);
        arrival.settle(now);
        arrival.charge(now, 2);
        let before = arrival.room(now);
        let receipt = arrival.charge(now, 3);
        arrival.refund(receipt);
        assert_eq!(arrival.room(now), before);
    }

    #[test]
    fn a_refund_after_another_gives_back_only_what_is_not_earned_yet() {
        let (rule, begin) = (Gcra::new(10, 1_000, 5), Moment::from_micros(7_000));
        let mut arrival = Arrival::new(rule, 1);
        let (first, second) = (arrival.charge(begin, 2), arrival.charge(begin, 2));
        arrival.refund(first);
        // By now the second is earned, and the third must not pay for it.
        let later = Moment::from_micros(7_201);
        arrival.settle(later);
        arrival.charge(later, 2);
        arrival.refund(second);
        assert_eq!(arrival.room(later), 3);
    }
}
