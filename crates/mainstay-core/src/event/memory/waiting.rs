//! The events of a queue that nobody has.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::super::Envelope;
use crate::time::Moment;

#[derive(Debug)]
pub(super) struct Queued {
    /// Where the event is in its topic, which is what order goes by.
    pub(super) place: u64,
    /// One for each time an event was queued here.
    pub(super) ticket: u128,
    pub(super) since: Moment,
    pub(super) event: Arc<Envelope>,
}

impl Queued {
    /// A redriven event comes behind what was published before it was redriven.
    fn order(&self) -> (u64, u128) {
        (self.place, self.ticket)
    }
}

/// In order. In an ordered queue an event behind another of its subject is kept apart until that one has ended.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    ready: VecDeque<Queued>,
    /// Of an ordered queue: a line for each subject of which an event is ready or delivered, with those behind it.
    lines: Option<HashMap<Box<str>, VecDeque<Queued>, foldhash::fast::RandomState>>,
    in_lines: usize,
}

impl Waiting {
    pub(super) fn new(ordered: bool) -> Self {
        Self { lines: ordered.then(HashMap::default), ..Self::default() }
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.lines.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.in_lines
    }

    /// Whether there is something that may be delivered.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// In no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.ready.iter().chain(self.lines.iter().flat_map(HashMap::values).flatten())
    }

    /// Adds what comes behind all others.
    pub(super) fn push(&mut self, queued: Queued) {
        if let (Some(lines), Some(subject)) = (&mut self.lines, &queued.event.subject) {
            if let Some(line) = lines.get_mut(&**subject) {
                line.push_back(queued);
                self.in_lines += 1;
                return;
            }
            lines.insert(subject.as_str().into(), VecDeque::new());
        }
        self.ready.push_back(queued);
    }

    /// Takes the first that may be delivered; its subject waits for [`end`](Self::end).
    pub(super) fn pop(&mut self) -> Option<Queued> {
        self.ready.pop_front()
    }

    /// A delivered event of this subject is done or dead.
    pub(super) fn end(&mut self, subject: Option<&str>) {
        let (Some(lines), Some(subject)) = (&mut self.lines, subject) else { return };
        match lines.get_mut(subject).and_then(VecDeque::pop_front) {
            Some(next) => {
                self.in_lines -= 1;
                let at = self.ready.partition_point(|queued| queued.order() < next.order());
                self.ready.insert(at, next);
            }
            None => drop(lines.remove(subject)),
        }
    }

    /// Adds events where they belong.
    pub(super) fn merge(&mut self, more: impl Iterator<Item = Queued>) {
        let mut all: Vec<_> = self.ready.drain(..).collect();
        if let Some(lines) = &mut self.lines {
            // What remains are the subjects of which an event is delivered.
            for queued in 0..all.len() {
                let line = all[queued].event.subject.as_deref().and_then(|subject| lines.remove(subject));
                all.extend(line.into_iter().flatten());
            }
            all.extend(lines.values_mut().flat_map(|line| line.drain(..)));
            self.in_lines = 0;
        }
        all.extend(more);
        all.sort_by_key(Queued::order);
        all.into_iter().for_each(|queued| self.push(queued));
    }
}
