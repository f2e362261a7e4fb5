//! What a topic retains.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use super::super::{Bounds, Envelope, History, Pattern, Start};

/// The latest events of a topic, whatever became of them.
#[derive(Debug, Default)]
pub(super) struct Log {
    events: VecDeque<Retained>,
    bytes: usize,
    next_place: u64,
    /// When the last event that made room for others had been accepted.
    dropped: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Retained {
    pub(super) place: u64,
    at: Timestamp,
    pub(super) event: Arc<Envelope>,
}

impl Log {
    /// Where the next event will be.
    pub(super) fn next_place(&self) -> u64 {
        self.next_place
    }

    /// Adds an event; says its place.
    pub(super) fn push(&mut self, event: Arc<Envelope>, at: Timestamp, bounds: &Bounds) -> u64 {
        let place = self.next_place;
        self.next_place += 1;
        self.bytes += size(&event);
        self.events.push_back(Retained { place, at, event });
        while (self.events.len() > bounds.retained || self.bytes > bounds.retained_bytes)
            && let Some(oldest) = self.events.pop_front()
        {
            self.bytes -= size(&oldest.event);
            self.dropped = Some(oldest.at);
        }
        place
    }

    /// The events from there on.
    pub(super) fn since(&self, start: Start) -> impl Iterator<Item = &Retained> {
        self.events.range(self.find(start).0..)
    }

    pub(super) fn history(&self, pattern: &Pattern, start: Start, limit: usize) -> History {
        let (begin, gap) = self.find(start);
        let events = self.events.range(begin..).map(|retained| &retained.event);
        let taken = events.filter(|event| pattern.matches(&event.kind)).take(limit);
        History::new(taken.cloned().collect(), gap)
    }

    /// The index of the first event, and whether some before it may be missing.
    fn find(&self, start: Start) -> (usize, bool) {
        let end = self.events.len();
        let find = |wanted: &dyn Fn(&Retained) -> bool| self.events.iter().position(wanted);
        match start {
            Start::Now => (end, false),
            Start::Oldest => (0, false),
            // Not by bisection: the calendar may have been set back.
            Start::At(time) => {
                let gap = self.dropped.is_some_and(|dropped| dropped >= time);
                (find(&|retained| retained.at >= time).unwrap_or(end), gap)
            }
            Start::After(id) => match find(&|retained| retained.event.id == id) {
                Some(at) => (at + 1, false),
                None => (0, true),
            },
        }
    }
}

/// What an event weighs, about.
fn size(event: &Envelope) -> usize {
    size_of::<Envelope>() + event.data.len() + event.subject.as_ref().map_or(0, String::len)
}
