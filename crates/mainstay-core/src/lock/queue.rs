//! The line of those in this process who wait for the same key. Only its head asks the store, so that a
//! hundred waiting tasks cost the store no more than one.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tokio::sync::Notify;

use super::metrics::Meters;
use crate::store::StoreError;
use crate::time::Moment;

/// The lines, by key. A key without a line has no entry.
#[derive(Debug, Default)]
pub(super) struct Queues {
    lines: Mutex<HashMap<Arc<str>, Line, RandomState>>,
    /// Number of waiters, to see without the mutex that there are none.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Line {
    /// By arrival.
    places: BTreeMap<u64, Waiter>,
    arrivals: u64,
    /// When the holder that the head was refused for is over.
    held_until: Moment,
    /// The store was not reached when the head asked last.
    down: Option<StoreError>,
}

#[derive(Debug)]
struct Waiter {
    turn: Arc<Notify>,
    since: Moment,
}

/// A place in a line. Dropping it leaves the line, and whoever comes to its head is told.
#[derive(Debug)]
pub(super) struct Place<'a> {
    queues: &'a Queues,
    meters: &'a Meters,
    key: Arc<str>,
    arrival: u64,
    turn: Arc<Notify>,
}

impl Queues {
    /// When the key is free at the latest, or why its head cannot ask, if there is a line.
    #[inline]
    pub(super) fn held_until(&self, key: &str) -> Option<Result<Moment, StoreError>> {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.lines().get(key).map(|line| line.down.clone().map_or(Ok(line.held_until), Err))
    }

    /// Goes to the end of the line.
    pub(super) fn enter<'a>(
        &'a self,
        key: &str,
        now: Moment,
        held_until: Moment,
        meters: &'a Meters,
    ) -> Place<'a> {
        let key: Arc<str> = key.into();
        let turn = Arc::new(Notify::new());
        let mut lines = self.lines();
        let line = lines.entry(Arc::clone(&key)).or_default();
        let arrival = line.arrivals;
        line.arrivals += 1;
        line.places.insert(arrival, Waiter { turn: Arc::clone(&turn), since: now });
        if line.places.len() == 1 {
            line.held_until = held_until;
            turn.notify_one();
        }
        self.waiting.fetch_add(1, Ordering::Release);
        meters.waiters.add(1.0);
        Place { queues: self, meters, key, arrival, turn }
    }

    /// Number of lines and of waiters.
    pub(super) fn usage(&self) -> (usize, usize) {
        (self.lines().len(), self.waiting.load(Ordering::Acquire))
    }

    /// The lines: what is waited for, by how many, and since when by the first of them.
    pub(super) fn lengths(&self) -> Vec<(Arc<str>, usize, Moment)> {
        let first =
            |line: &Line| line.places.first_key_value().map(|(_, waiter)| waiter.since).unwrap_or_default();
        self.lines().iter().map(|(key, line)| (Arc::clone(key), line.places.len(), first(line))).collect()
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Arc<str>, Line, RandomState>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Ends when this is the head of the line.
    ///
    /// # Errors
    /// The head was told that the store is [down](Self::down).
    pub(super) async fn turn(&self) -> Result<(), StoreError> {
        loop {
            self.turn.notified().await;
            let lines = self.queues.lines();
            let line = lines.get(&self.key).expect("a line is there while it has places");
            match &line.down {
                _ if line.is_head(self.arrival) => return Ok(()),
                Some(error) => return Err(error.clone()),
                None => {}
            }
        }
    }

    /// Tells those who will not wait how long it may take.
    pub(super) fn refused(&self, held_until: Moment) {
        if let Some(line) = self.queues.lines().get_mut(&self.key) {
            (line.held_until, line.down) = (held_until, None);
        }
    }

    /// Sends away those behind: the head waits to learn what became of its question, and they have none.
    pub(super) fn down(&self, error: StoreError) {
        if let Some(line) = self.queues.lines().get_mut(&self.key) {
            line.down = Some(error);
            line.places.values().skip(1).for_each(|waiter| waiter.turn.notify_one());
        }
    }
}

impl Line {
    fn is_head(&self, arrival: u64) -> bool {
        self.places.first_key_value().is_some_and(|(first, _)| *first == arrival)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.queues.lines();
        let Some(line) = lines.get_mut(&self.key) else { return };
        let was_head = line.is_head(self.arrival);
        line.places.remove(&self.arrival);
        if was_head {
            line.down = None;
        }
        match line.places.first_key_value() {
            Some((_, next)) if was_head => next.turn.notify_one(),
            Some(_) => {}
            None => drop(lines.remove(&self.key)),
        }
        self.queues.waiting.fetch_sub(1, Ordering::Release);
        self.meters.waiters.sub(1.0);
    }
}
