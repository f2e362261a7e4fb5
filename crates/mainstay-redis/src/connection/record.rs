//! What became of the connections to one server, for the log and for people.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use mainstay_core::time::Clock;

use super::dial::Hello;
use super::link::Purpose;
use super::refusal::Refusal;
use crate::Address;

pub(crate) struct Record {
    pub(crate) address: Address,
    state: Mutex<State>,
}

/// Reasons that the log is given in one outage.
const MOST_LOGGED: usize = 8;

#[derive(Default)]
struct State {
    last_error: Option<String>,
    /// Why there is no connection, as the log has it already: a connection may fail in turns for several reasons.
    logged: Vec<Refusal>,
    up_since: Option<Timestamp>,
    version: Option<String>,
}

impl Record {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each reason is logged once, not with each attempt.
    pub(crate) fn refused(&self, why: &Refusal) {
        let mut state = self.state();
        state.last_error = Some(why.to_string());
        let news = state.logged.len() < MOST_LOGGED && !state.logged.contains(why);
        if news {
            state.logged.push(why.clone());
        }
        drop(state);
        if news {
            tracing::warn!(address = %self.address, reason = %why, "cannot connect to Redis; trying on");
        }
    }

    pub(crate) fn lost(&self, purpose: Purpose, reason: &str) {
        let mut state = self.state();
        state.last_error = Some(reason.to_owned());
        state.up_since = None;
        drop(state);
        tracing::debug!(address = %self.address, ?purpose, reason, "connection to Redis lost");
    }

    pub(crate) fn found(&self, clock: &Clock) {
        let mut state = self.state();
        state.logged.clear();
        state.up_since = Some(clock.wall());
    }

    pub(crate) fn greeted(&self, hello: Hello) {
        self.state().version = Some(hello.version);
    }

    pub(crate) fn version(&self) -> Option<String> {
        self.state().version.clone()
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.state().last_error.clone()
    }

    /// Since when no connection was lost or made.
    pub(crate) fn up_since(&self) -> Option<Timestamp> {
        self.state().up_since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_of_an_outage_is_remembered_once_and_their_number_is_bounded() {
        let record = Record::new(Address::new("test", 1));
        let reason = |number: usize| Refusal::Unreachable(number.to_string().into());
        for round in 0..100 {
            record.refused(&reason(round % 2));
        }
        assert_eq!(record.state().logged, [reason(0), reason(1)]);
        (0..100).for_each(|number| record.refused(&reason(number)));
        assert_eq!(record.state().logged.len(), MOST_LOGGED);
        record.found(&Clock::system());
        assert!(record.state().logged.is_empty());
    }
}
