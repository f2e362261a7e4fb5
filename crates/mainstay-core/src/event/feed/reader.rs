//! One reader: what it has missed from the history, and then what comes.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::super::consumer::again;
use super::super::{Envelope, EventId, History, Start};
use super::Shared;
use super::pump::Live;
use super::recent::Recent;

/// Events in one question for history.
const PAGE: usize = 256;

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// The next event.
    Event(Arc<Envelope>),
    /// Events may be missing before the next one: they are not retained any more. Whoever keeps a picture of the
    /// whole makes it anew.
    Gap,
}

/// Reads a feed: [`Feed::read`](super::Feed::read). It keeps the feed going.
#[derive(Debug)]
pub struct Reader {
    feed: Arc<Shared>,
    /// `None`: the feed had ended before.
    live: Option<broadcast::Receiver<Live>>,
    /// The event that came last.
    last: Option<EventId>,
    ready: VecDeque<Item>,
    place: Place,
    /// What was read from the history and may come once more.
    read: Recent,
}

/// Where a reader is.
#[derive(Debug)]
enum Place {
    /// In the history, behind `last`; until it meets this event, which has come, or the end.
    History { until: Option<Arc<Envelope>> },
    /// At the end of the history. What comes may be from before `last`.
    Seam,
    /// What comes is new.
    Live,
}

impl Reader {
    pub(super) fn new(feed: Arc<Shared>, after: Option<EventId>) -> Self {
        let live = feed.live.upgrade().map(|live| live.subscribe());
        let place = if after.is_some() { Place::History { until: None } } else { Place::Live };
        Self { feed, live, last: after, ready: VecDeque::new(), place, read: Recent::default() }
    }

    /// The next item, as soon as there is one; `None` when the feed has ended.
    ///
    /// Dropping the future loses nothing. While the store is down it waits.
    pub async fn next(&mut self) -> Option<Item> {
        let mut failures = 0;
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if let Place::History { .. } = self.place {
                match self.page().await {
                    Ok(page) => self.turn(page),
                    Err(_) if self.has_ended() => return None,
                    Err(_) => {
                        tokio::time::sleep(again(failures)).await;
                        failures += 1;
                    }
                }
                continue;
            }
            match self.live.as_mut()?.recv().await {
                Ok(Live::Event(event)) => self.meet(event),
                Ok(Live::Torn) | Err(RecvError::Lagged(_)) => self.fall_back(),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.feed.live.strong_count() == 0
    }

    async fn page(&self) -> Result<History, crate::store::StoreError> {
        let start = self.last.map_or(Start::Oldest, Start::After);
        self.feed.store.history(&self.feed.pattern, start, PAGE).within(self.feed.op_timeout).await
    }

    /// Takes a page of history.
    fn turn(&mut self, History { mut events, gap, .. }: History) {
        let Place::History { until } = std::mem::replace(&mut self.place, Place::Seam) else { return };
        if gap {
            self.ready.push_back(Item::Gap);
        }
        let is_last = events.len() < PAGE;
        let met = until.as_ref().and_then(|until| events.iter().position(|event| event.id == until.id));
        if let Some(met) = met {
            // What is behind it is yet to come.
            events.truncate(met + 1);
            self.place = Place::Live;
        } else if !is_last {
            self.place = Place::History { until };
        } else if gap && events.is_empty() {
            // Nothing is retained that could tell new from old.
            events.extend(until);
            self.place = Place::Live;
        }
        for event in events {
            self.last = Some(event.id);
            self.read.insert(event.id);
            self.ready.push_back(Item::Event(event));
        }
    }

    /// Takes an event that came.
    fn meet(&mut self, event: Arc<Envelope>) {
        match self.place {
            Place::Live => {
                self.last = Some(event.id);
                self.ready.push_back(Item::Event(event));
            }
            Place::Seam if self.last == Some(event.id) => self.place = Place::Live,
            Place::Seam if self.read.contains(event.id) => {}
            // It is new if it is in the history behind `last`, and old if not.
            _ => self.place = Place::History { until: Some(event) },
        }
    }

    /// Goes back to the history; who has read nothing has nothing to go back to.
    fn fall_back(&mut self) {
        self.read = Recent::default();
        match self.last {
            Some(_) => self.place = Place::History { until: None },
            None => self.ready.push_back(Item::Gap),
        }
    }
}
