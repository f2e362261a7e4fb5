use std::collections::VecDeque;

use super::ledger::{Mark, Tally};

/// The last `size` places. A place without a note is a call that succeeded in time, so that only failures
/// and slow calls take memory, and successes need nothing but a place.
#[derive(Debug)]
pub(super) struct Counted {
    size: u64,
    /// No place before this one counts.
    start: u64,
    notes: VecDeque<(u64, Mark)>,
    noted: Tally,
}

impl Counted {
    pub(super) fn new(size: u32, start: u64) -> Self {
        Self { size: size.into(), start, notes: VecDeque::new(), noted: Tally::default() }
    }

    /// Notes come in the order of their places.
    pub(super) fn note(&mut self, place: u64, mark: Mark) {
        if place < self.start {
            return;
        }
        self.notes.push_back((place, mark));
        self.noted.add(mark);
    }

    /// Slides to where `next` is the first place that nobody took.
    pub(super) fn slide(&mut self, next: u64) {
        self.start = self.start.max(next.saturating_sub(self.size));
        while let Some((place, mark)) = self.notes.front()
            && *place < self.start
        {
            self.noted.subtract(*mark);
            self.notes.pop_front();
        }
    }

    /// What the window holds after [`Counted::slide`].
    pub(super) fn tally(&self, next: u64) -> Tally {
        self.noted.of(next - self.start)
    }

    pub(super) fn resize(&mut self, size: u32) {
        self.size = size.into();
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn noted(&self) -> Tally {
        self.noted
    }
}
