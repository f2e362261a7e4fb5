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

#[derive(Default)]
struct State {
    last_error: Option<String>,
    /// Why there is no connection, as the log has it already.
    logged: Option<Refusal>,
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

    /// Logged once, not with each attempt.
    pub(crate) fn refused(&self, why: &Refusal) {
        let mut state = self.state();
        state.last_error = Some(why.to_string());
        let known = state.logged.as_ref() == Some(why);
        state.logged = Some(why.clone());
        drop(state);
        if !known {
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
        state.logged = None;
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
