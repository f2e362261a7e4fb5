//! The ids published lately.

use std::collections::{HashSet, VecDeque};

use super::super::{Bounds, EventId};
use crate::time::Moment;

/// Remembers ids for a time, and only so many.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: HashSet<EventId, foldhash::fast::RandomState>,
    order: VecDeque<(Moment, EventId)>,
}

impl Seen {
    pub(super) fn contains(&self, id: EventId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn forget_old(&mut self, now: Moment, bounds: &Bounds) {
        while let Some((at, id)) = self.order.front()
            && now.saturating_since(*at) >= bounds.dedup_window
        {
            self.ids.remove(id);
            self.order.pop_front();
        }
    }

    pub(super) fn insert(&mut self, id: EventId, now: Moment, bounds: &Bounds) {
        if self.ids.insert(id) {
            self.order.push_back((now, id));
        }
        if self.order.len() > bounds.dedup_ids
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}
