use std::collections::VecDeque;
use std::time::Duration;

use super::ledger::{Mark, Tally};
use crate::time::{Moment, micros};

/// Buckets of a time window.
const BUCKETS: u64 = 10;

/// The places taken in the last [`BUCKETS`] stretches of time, the current one among them. A bucket knows
/// the place it begins with; how many calls it has is the distance to the next.
#[derive(Debug)]
pub(super) struct Dated {
    /// Microseconds of a bucket.
    width: u64,
    buckets: VecDeque<Bucket>,
    noted: Tally,
}

#[derive(Debug)]
struct Bucket {
    from: u64,
    begin: u64,
    noted: Tally,
}

impl Dated {
    pub(super) fn new(time: Duration, now: Moment, start: u64) -> Self {
        let width = micros(time) / BUCKETS;
        let mut this = Self { width, buckets: VecDeque::new(), noted: Tally::default() };
        this.push(now, start, Tally::default());
        this
    }

    fn push(&mut self, now: Moment, begin: u64, noted: Tally) {
        let from = now.as_micros() - now.as_micros() % self.width;
        self.buckets.push_back(Bucket { from, begin, noted });
        self.noted.merge(noted);
    }

    /// The moment from which calls belong into another bucket than the last.
    pub(super) fn turns_at(&self) -> Moment {
        let from = self.buckets.back().map_or(0, |bucket| bucket.from);
        Moment::from_micros((from - from % self.width).saturating_add(self.width))
    }

    /// Begins the bucket of `now`, if it is not there yet, with `next`, the first place that nobody took; and
    /// drops those that are too old.
    pub(super) fn slide(&mut self, now: Moment, next: u64) {
        if now < self.turns_at() {
            return;
        }
        self.push(now, next, Tally::default());
        let current = self.buckets.back().map_or(0, |bucket| bucket.from);
        let age = self.width * BUCKETS;
        while let Some(first) = self.buckets.front()
            && first.from.saturating_add(age) <= current
        {
            self.noted.take(first.noted);
            self.buckets.pop_front();
        }
        // Only after changes of the policy can there be more than fit: the eldest then stay together.
        if self.buckets.len() as u64 > 2 * BUCKETS
            && let Some(first) = self.buckets.pop_front()
            && let Some(second) = self.buckets.front_mut()
        {
            second.begin = first.begin;
            second.noted.merge(first.noted);
        }
    }

    /// Into the bucket that the place lies in; none if it is too old.
    pub(super) fn note(&mut self, place: u64, mark: Mark) {
        if let Some(bucket) = self.buckets.iter_mut().rev().find(|bucket| bucket.begin <= place) {
            bucket.noted.add(mark);
            self.noted.add(mark);
        }
    }

    /// What the window holds after [`Dated::slide`].
    pub(super) fn tally(&self, next: u64) -> Tally {
        self.noted.of(next - self.start())
    }

    pub(super) fn start(&self) -> u64 {
        self.buckets.front().map_or(0, |bucket| bucket.begin)
    }

    pub(super) fn resize(&mut self, time: Duration) {
        self.width = micros(time) / BUCKETS;
    }

    /// What was noted, bucket by bucket, with the place after its last.
    pub(super) fn parts(&self, next: u64) -> impl Iterator<Item = (u64, u64, Tally)> {
        let ends = self.buckets.iter().skip(1).map(|bucket| bucket.begin).chain([next]);
        self.buckets.iter().zip(ends).map(|(bucket, end)| (bucket.begin, end, bucket.noted))
    }

    /// The whole window so far becomes what the bucket of `now` holds.
    pub(super) fn of(time: Duration, now: Moment, start: u64, noted: Tally) -> Self {
        let width = micros(time) / BUCKETS;
        let mut this = Self { width, buckets: VecDeque::new(), noted: Tally::default() };
        this.push(now, start, noted);
        this
    }
}
