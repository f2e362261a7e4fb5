use std::collections::{HashSet, VecDeque};

use super::super::EventId;

/// The latest ids, only so many.
#[derive(Debug, Default)]
pub(super) struct Recent {
    ids: HashSet<EventId, foldhash::fast::RandomState>,
    order: VecDeque<EventId>,
}

impl Recent {
    /// Whether it is new.
    pub(super) fn insert(&mut self, id: EventId) -> bool {
        let is_new = self.ids.insert(id);
        if is_new {
            self.order.push_back(id);
        }
        if self.order.len() > 2 * super::BUFFER
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        is_new
    }

    pub(super) fn contains(&self, id: EventId) -> bool {
        self.ids.contains(&id)
    }
}
