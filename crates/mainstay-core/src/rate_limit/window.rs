//! A sliding window over k buckets that counts its oldest bucket in full.

use super::meter::Meter;
use super::store::Receipt;
use crate::time::Moment;

/// The rule: at most `limit` in any window. Time is cut into buckets of ⌈W/k⌉ µs, and a decision counts the
/// current bucket and the k before it.
///
/// Any span of length W touches at most k + 1 buckets in a row, and all of them were counted when its last
/// request was admitted, so that no window whatever holds more than `limit`. The price is that a request
/// is counted for up to W·(1 + 1/k): under saturation k/(k+1) of the limit is usable. (A "sliding window
/// counter", which weighs the oldest bucket by how much of it still counts, guesses: it admits up to
/// 2 · `limit`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    limit: u32,
    buckets: u32,
    width: u64,
}

impl Window {
    /// A window is rounded up to whole buckets. Whether it can be one is judged by the quota.
    pub(super) const fn new(limit: u32, window: u64, buckets: u32) -> Self {
        let width = if buckets == 0 { 0 } else { window.div_ceil(buckets as u64) };
        Self { limit, buckets, width }
    }

    /// Most that is admitted in any window.
    #[must_use]
    pub const fn limit(self) -> u32 {
        self.limit
    }

    /// Number of buckets a window is cut into (k).
    #[must_use]
    pub const fn buckets(self) -> u32 {
        self.buckets
    }

    /// Width of one bucket in microseconds.
    #[must_use]
    pub const fn width(self) -> u64 {
        self.width
    }

    /// The bucket `now` falls into.
    #[inline]
    pub(super) const fn bucket(self, now: Moment) -> u64 {
        now.as_micros() / self.width
    }

    /// Whether `now` is in `bucket` or before it; without the division.
    #[inline]
    pub(super) const fn reaches(self, bucket: u64, now: Moment) -> bool {
        now.as_micros() < (bucket + 1).saturating_mul(self.width)
    }

    /// When `bucket` is no longer counted.
    #[inline]
    pub(super) const fn leaves(self, bucket: u64) -> Moment {
        let next = bucket.saturating_add(self.buckets as u64 + 1);
        Moment::from_micros(next.saturating_mul(self.width))
    }
}

/// What was admitted: k + 1 counts, a ring indexed by bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counts {
    rule: Window,
    newest: u64,
    /// Never more than the limit.
    total: u32,
    ring: Box<[u32]>,
}

impl Counts {
    pub(super) fn new(rule: Window) -> Self {
        Self { rule, newest: 0, total: 0, ring: vec![0; rule.buckets as usize + 1].into() }
    }

    pub(super) const fn rule(&self) -> Window {
        self.rule
    }

    /// The bucket that is charged now.
    pub(super) const fn newest(&self) -> u64 {
        self.newest
    }

    /// What still fits into the newest bucket.
    pub(super) const fn free(&self) -> u32 {
        self.rule.limit - self.total
    }

    /// Adds to the newest bucket; `cost` is at most what is free.
    pub(super) fn add(&mut self, cost: u32) {
        let at = self.index(self.newest);
        self.ring[at] += cost;
        self.total += cost;
    }

    #[expect(clippy::cast_possible_truncation, reason = "a remainder below the length of a slice")]
    fn index(&self, bucket: u64) -> usize {
        (bucket % self.ring.len() as u64) as usize
    }

    /// The buckets with something in them, the oldest first.
    fn used(&self) -> impl DoubleEndedIterator<Item = (u64, u32)> {
        let oldest = self.newest.saturating_sub(u64::from(self.rule.buckets));
        (oldest..=self.newest)
            .map(|bucket| (bucket, self.ring[self.index(bucket)]))
            .filter(|(_, count)| *count > 0)
    }
}

impl Meter for Counts {
    /// Forgets the buckets that have left the window. A clock that steps back moves nothing: the newest
    /// bucket stays the current one until time has caught up with it.
    fn settle(&mut self, now: Moment) {
        let bucket = self.rule.bucket(now);
        let gone = bucket.saturating_sub(self.newest).min(self.ring.len() as u64);
        for step in 1..=gone {
            let at = self.index(self.newest + step);
            self.total -= std::mem::take(&mut self.ring[at]);
        }
        self.newest = self.newest.max(bucket);
    }

    fn capacity(&self) -> u32 {
        self.rule.limit
    }

    fn room(&self, _now: Moment) -> u32 {
        self.free()
    }

    fn fits_at(&self, now: Moment, wanted: u64) -> Moment {
        let mut missing = wanted.saturating_sub(u64::from(self.free()));
        if missing == 0 {
            return now;
        }
        for (bucket, count) in self.used() {
            missing = missing.saturating_sub(u64::from(count));
            if missing == 0 {
                return self.rule.leaves(bucket);
            }
        }
        Moment::NEVER
    }

    fn empty_at(&self) -> Moment {
        self.used().next_back().map_or(Moment::default(), |(bucket, _)| self.rule.leaves(bucket))
    }

    fn charge(&mut self, _now: Moment, cost: u32) -> Receipt {
        self.add(cost);
        Receipt { cost, mark: self.newest, life: 0 }
    }

    fn refund(&mut self, receipt: Receipt) {
        let bucket = receipt.mark;
        if bucket <= self.newest && self.newest - bucket <= u64::from(self.rule.buckets) {
            let at = self.index(bucket);
            let returned = receipt.cost.min(self.ring[at]);
            self.ring[at] -= returned;
            self.total -= returned;
        }
    }

    fn is_idle(&self, _now: Moment) -> bool {
        self.total == 0
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
        Back(u64),
        Take(u32),
        Refund(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_u64..40).prop_map(Step::Pass),
            1 => (100_u64..2_000).prop_map(Step::Pass),
            1 => (0_u64..300).prop_map(Step::Back),
            6 => (1_u32..6).prop_map(Step::Take),
            2 => (0_usize..20).prop_map(Step::Refund),
        ]
    }

    /// Every charge that was made, and what is left of it: recounted for each question.
    #[derive(Default)]
    struct Naive {
        charges: Vec<(u64, u32)>,
        newest: u64,
    }

    impl Naive {
        fn counted(&self, rule: Window) -> u32 {
            let counts = |bucket: u64| bucket + u64::from(rule.buckets) >= self.newest;
            self.charges.iter().filter(|(bucket, _)| counts(*bucket)).map(|(_, cost)| cost).sum()
        }

        fn fits_at(&self, rule: Window, cost: u32) -> u64 {
            let later = |newest| Self { charges: self.charges.clone(), newest };
            let newest = (self.newest..).find(|newest| later(*newest).counted(rule) + cost <= rule.limit);
            newest.expect("all is free some day") * rule.width
        }
    }

    proptest! {
        #[test]
        fn the_ring_counts_what_a_list_of_all_charges_counts(
            buckets in 1_u32..12,
            window in 12_u64..300,
            steps in vec(step(), 0..80),
        ) {
            let rule = Window::new(5, window, buckets);
            let (mut counts, mut naive, mut time) = (Counts::new(rule), Naive::default(), 5_000_u64);
            let mut receipts: Vec<Receipt> = Vec::new();
            for step in steps {
                match step {
                    Step::Pass(by) => time += by,
                    Step::Back(by) => time -= by.min(time),
                    _ => {}
                }
                let now = Moment::from_micros(time);
                counts.settle(now);
                naive.newest = naive.newest.max(time / rule.width);
                match step {
                    Step::Take(cost) if cost <= counts.room(now) => {
                        receipts.push(counts.charge(now, cost));
                        naive.charges.push((naive.newest, cost));
                    }
                    Step::Take(cost) => {
                        prop_assert_eq!(counts.fits_at(now, u64::from(cost)).as_micros(), naive.fits_at(rule, cost));
                    }
                    Step::Refund(which) if which < receipts.len() => {
                        counts.refund(receipts[which]);
                        // Each receipt once, as the handle sees to.
                        receipts[which].cost = 0;
                        naive.charges[which].1 = 0;
                    }
                    _ => {}
                }
                prop_assert_eq!(counts.room(now), 5 - naive.counted(rule));
                prop_assert_eq!(counts.is_idle(now), naive.counted(rule) == 0);
            }
        }
    }
}
