//! The breaker round one server.
//!
//! While it is open, calls fail at once. It opens when the last connection is lost, and when [`MISSES`] commands in
//! a row had no answer in time. The links then ask for the time and a script every [`PROBE`]; the first answer that
//! comes in time closes it. Late answers to commands that were given up say nothing: they tell of the time before. Nor does the end of
//! a wait that this process noticed late, because it was stopped or blocked itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::Address;

/// Commands without an answer in time, one after the other, that open the guard.
pub(crate) const MISSES: u32 = 5;
/// Pause between two probes while it is open.
pub(crate) const PROBE: Duration = Duration::from_millis(100);

pub(crate) struct Guard {
    address: Address,
    state: Mutex<State>,
    /// As in the state, to be read without its lock.
    open: AtomicBool,
    /// Whether an answer changes anything.
    missed: AtomicBool,
    /// Nobody is to hear any more that it opens.
    retired: AtomicBool,
    doubted: Notify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    LinkUp,
    LinkDown,
    /// A command had no answer in time.
    Missed,
    /// A command was answered.
    Answered,
    /// A question for the time was answered in time.
    Probed,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    links: u32,
    misses: u32,
}

impl State {
    const fn is_open(&self) -> bool {
        self.links == 0 || self.misses >= MISSES
    }

    const fn step(&mut self, event: Event) {
        match event {
            Event::LinkUp => {
                self.links += 1;
                self.misses = 0;
            }
            Event::LinkDown => self.links = self.links.saturating_sub(1),
            Event::Missed => self.misses = self.misses.saturating_add(1),
            Event::Probed => self.misses = 0,
            Event::Answered if self.misses < MISSES => self.misses = 0,
            Event::Answered => {}
        }
    }
}

impl Guard {
    /// Of a server that there is no connection to yet.
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            state: Mutex::default(),
            open: AtomicBool::new(true),
            missed: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            doubted: Notify::new(),
        }
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Waits until the guard is open, or until something else makes one ask whether the server is there.
    pub(crate) async fn doubted(&self) {
        let doubted = self.doubted.notified();
        if !self.is_open() {
            doubted.await;
        }
    }

    /// Lets all links ask at once whether the server is there.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_waiters();
    }

    /// The connections are about to be closed on purpose.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn answered(&self) {
        if self.missed.load(Ordering::Relaxed) {
            self.step(Event::Answered);
        }
    }

    pub(crate) fn missed(&self) {
        self.step(Event::Missed);
    }

    pub(crate) fn probed(&self) {
        if self.missed.load(Ordering::Relaxed) {
            self.step(Event::Probed);
        }
    }

    pub(crate) fn link_up(&self) {
        self.step(Event::LinkUp);
    }

    pub(crate) fn link_down(&self) {
        self.step(Event::LinkDown);
    }

    fn step(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was_open = state.is_open();
        state.step(event);
        let (is_open, links) = (state.is_open(), state.links);
        self.open.store(is_open, Ordering::Relaxed);
        self.missed.store(state.misses > 0, Ordering::Relaxed);
        drop(state);
        match (was_open, is_open) {
            (false, true) => {
                if !self.retired.load(Ordering::Relaxed) {
                    let reason = if links == 0 { "no connection" } else { "no answer in time" };
                    tracing::warn!(address = %self.address, reason, "Redis is gone: calls fail at once");
                }
                self.doubt();
            }
            (true, false) => tracing::info!(address = %self.address, "Redis answers"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            1 => Just(Event::LinkUp),
            1 => Just(Event::LinkDown),
            12 => Just(Event::Missed),
            2 => Just(Event::Answered),
            1 => Just(Event::Probed),
        ]
    }

    /// Whether the guard is open after all this, told from the whole past instead of from a state.
    fn is_open(past: &[Event]) -> bool {
        let links = past.iter().fold(0_u32, |links, event| match event {
            Event::LinkUp => links + 1,
            Event::LinkDown => links.saturating_sub(1),
            _ => links,
        });
        let fresh = past.iter().rposition(|event| matches!(event, Event::Probed | Event::LinkUp));
        let mut runs = past[fresh.map_or(0, |at| at + 1)..].split(|event| *event == Event::Answered);
        let silent = |run: &[Event]| run.iter().filter(|event| **event == Event::Missed).count() >= 5;
        links == 0 || runs.any(silent)
    }

    proptest! {
        #[test]
        fn it_is_open_without_links_or_after_five_misses_that_no_probe_followed(
            past in prop::collection::vec(event(), 0..200),
        ) {
            let guard = Guard::new(Address::new("test", 1));
            for (at, event) in past.iter().enumerate() {
                match event {
                    Event::LinkUp => guard.link_up(),
                    Event::LinkDown => guard.link_down(),
                    Event::Missed => guard.missed(),
                    Event::Answered => guard.answered(),
                    Event::Probed => guard.probed(),
                }
                prop_assert_eq!(guard.is_open(), is_open(&past[..=at]), "after {:?}", &past[..=at]);
            }
        }
    }

    #[tokio::test]
    async fn who_waits_for_it_to_open_is_woken() {
        let guard = Guard::new(Address::new("test", 1));
        guard.link_up();
        let missed = async { (0..MISSES).for_each(|_| guard.missed()) };
        tokio::join!(guard.doubted(), missed);
        assert!(guard.is_open());
    }
}
