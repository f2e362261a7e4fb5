//! A value as it is kept near, and how long it lives by this process's clock.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::cache::{Found, Tag, Value};
use mainstay_core::time::{Moment, micros};

use super::envelope::Head;
use super::near::Bulk;

/// What a tag takes besides its name.
const TAG_OVERHEAD: usize = 64;

/// A value, with what can end it.
#[derive(Debug, Clone)]
pub(super) struct Record {
    value: Arc<Value>,
    fresh_until: Moment,
    usable_until: Moment,
    /// With epochs.
    tags: Option<Arc<[Tag]>>,
}

impl Record {
    /// The value behind this head, of which the server's calendar showed `server` at `moment` or later.
    pub(super) fn new(head: Head, value: Value, server: u64, moment: Moment) -> Self {
        let left = |until: u64, most: Duration| Duration::from_micros(until.saturating_sub(server)).min(most);
        let fresh_for = left(head.fresh_until, head.fresh_for);
        let stale_until = head.fresh_until.saturating_add(micros(head.stale_for));
        let usable_for = left(stale_until, fresh_for.saturating_add(head.stale_for));
        Self {
            value: Arc::new(value),
            fresh_until: moment + fresh_for,
            usable_until: moment + usable_for,
            tags: (!head.tags.is_empty()).then(|| head.tags.into()),
        }
    }

    pub(super) fn tags(&self) -> &[Tag] {
        self.tags.as_deref().unwrap_or_default()
    }

    pub(super) const fn fresh_until(&self) -> Moment {
        self.fresh_until
    }

    #[inline]
    pub(super) fn found(&self, now: Moment) -> Found {
        let value = Arc::clone(&self.value);
        Found::new(value, self.fresh_until.saturating_since(now), self.usable_until.saturating_since(now))
    }

    /// What may be served, fresh or stale.
    pub(super) fn usable(&self, now: Moment) -> Option<Found> {
        (self.usable_until > now).then(|| self.found(now))
    }

    pub(super) fn fresh(&self, now: Moment) -> Option<Found> {
        (self.fresh_until > now).then(|| self.found(now))
    }
}

/// The bytes count twice: the decoded value is remembered beside them.
impl Bulk for Record {
    fn bulk(&self) -> usize {
        let tags: usize = self.tags().iter().map(|tag| tag.name.len() + TAG_OVERHEAD).sum();
        self.value.bytes().len().saturating_mul(2).saturating_add(tags)
    }
}
