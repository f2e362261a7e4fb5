use super::super::Window;
use super::counted::Counted;
use super::dated::Dated;
use crate::time::Moment;

/// How a place differs from one of a call that succeeded in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Failed,
    FailedSlow,
    Slow,
    /// Taken by an outcome of an older generation: the place counts as none.
    Void,
}

impl Mark {
    /// `None` for a success in time.
    pub(super) fn of(failed: bool, slow: bool) -> Option<Self> {
        match (failed, slow) {
            (false, false) => None,
            (false, true) => Some(Self::Slow),
            (true, false) => Some(Self::Failed),
            (true, true) => Some(Self::FailedSlow),
        }
    }
}

/// Calls of a window, or of a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Tally {
    pub(in super::super) calls: u64,
    pub(in super::super) failures: u64,
    pub(in super::super) slow: u64,
    void: u64,
}

impl Tally {
    pub(super) fn add(&mut self, mark: Mark) {
        self.merge(Self::one(mark));
    }

    pub(super) fn subtract(&mut self, mark: Mark) {
        self.take(Self::one(mark));
    }

    fn one(mark: Mark) -> Self {
        Self {
            calls: 0,
            failures: u64::from(matches!(mark, Mark::Failed | Mark::FailedSlow)),
            slow: u64::from(matches!(mark, Mark::Slow | Mark::FailedSlow)),
            void: u64::from(mark == Mark::Void),
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.failures += other.failures;
        self.slow += other.slow;
        self.void += other.void;
    }

    pub(super) fn take(&mut self, other: Self) {
        self.failures -= other.failures;
        self.slow -= other.slow;
        self.void -= other.void;
    }

    /// These notes, among so many places.
    pub(super) fn of(self, places: u64) -> Self {
        Self { calls: places.saturating_sub(self.void), ..self }
    }

    /// Share of failures, from 0 to 1; 0 without calls.
    pub(in super::super) fn failure_rate(self) -> f64 {
        rate(self.failures, self.calls)
    }

    /// Share of slow calls, from 0 to 1; 0 without calls.
    pub(in super::super) fn slow_rate(self) -> f64 {
        rate(self.slow, self.calls)
    }
}

fn rate(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

/// The window of either kind.
#[derive(Debug)]
pub(super) enum Ledger {
    Counted(Counted),
    Dated(Dated),
}

impl Ledger {
    /// An empty one that begins with the place `start`.
    pub(super) fn new(window: Window, now: Moment, start: u64) -> Self {
        match window {
            Window::Count(size) => Self::Counted(Counted::new(size, start)),
            Window::Time(time) => Self::Dated(Dated::new(time, now, start)),
        }
    }

    pub(super) fn slide(&mut self, now: Moment, next: u64) {
        match self {
            Self::Counted(window) => window.slide(next),
            Self::Dated(window) => window.slide(now, next),
        }
    }

    pub(super) fn note(&mut self, place: u64, mark: Mark) {
        match self {
            Self::Counted(window) => window.note(place, mark),
            Self::Dated(window) => window.note(place, mark),
        }
    }

    pub(super) fn tally(&self, next: u64) -> Tally {
        match self {
            Self::Counted(window) => window.tally(next),
            Self::Dated(window) => window.tally(next),
        }
    }

    /// When the next bucket begins; a count window has none.
    pub(super) fn turns_at(&self) -> Moment {
        match self {
            Self::Counted(_) => Moment::NEVER,
            Self::Dated(window) => window.turns_at(),
        }
    }

    /// Goes on as a window of another size or kind, with the calls it has, after [`Ledger::slide`].
    pub(super) fn become_window(&mut self, window: Window, now: Moment, next: u64) {
        match (&mut *self, window) {
            (Self::Counted(counted), Window::Count(size)) => counted.resize(size),
            (Self::Dated(dated), Window::Time(time)) => dated.resize(time),
            (Self::Counted(counted), Window::Time(time)) => {
                *self = Self::Dated(Dated::of(time, now, counted.start(), counted.noted()));
            }
            (Self::Dated(dated), Window::Count(size)) => {
                let mut counted = Counted::new(size, dated.start());
                for (begin, end, noted) in dated.parts(next) {
                    // Evenly: side by side, they could be all that a smaller window holds.
                    let stride =
                        usize::try_from((end - begin) / noted.marked().max(1)).unwrap_or(usize::MAX).max(1);
                    for (place, mark) in (begin..end).step_by(stride).zip(noted.marks()) {
                        counted.note(place, mark);
                    }
                }
                *self = Self::Counted(counted);
            }
        }
        self.slide(now, next);
    }
}

impl Tally {
    fn marked(self) -> u64 {
        self.failures.max(self.slow) + self.void
    }

    /// As many marks as make this up, where a bucket no longer knows which call was which.
    fn marks(self) -> impl Iterator<Item = Mark> {
        let both = self.failures.min(self.slow);
        let marks = [
            (Mark::FailedSlow, both),
            (Mark::Failed, self.failures - both),
            (Mark::Slow, self.slow - both),
            (Mark::Void, self.void),
        ];
        marks.into_iter().flat_map(|(mark, times)| (0..times).map(move |_| mark))
    }
}
