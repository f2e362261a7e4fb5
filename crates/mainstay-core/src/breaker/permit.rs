use std::sync::Arc;
use std::time::Duration;

use super::breaker::Shared;
use super::call::Verdict;
use super::gate::{Outcome, Ticket};

/// The right to make one call. Say how it ended; a permit that is dropped without a word, because the call
/// was cancelled or panicked, counts neither as success nor as failure and leaks nothing.
///
/// The outcome of a call from before the breaker last changed its state is counted in the metrics and decides
/// nothing.
#[derive(Debug)]
#[must_use = "a permit that is dropped counts as a cancelled call"]
pub struct Permit<'a> {
    breaker: Held<'a>,
    /// Taken with the outcome.
    ticket: Option<Ticket>,
}

#[derive(Debug)]
pub(super) enum Held<'a> {
    Borrowed(&'a Shared),
    Owned(Arc<Shared>),
}

impl Held<'_> {
    #[inline]
    fn shared(&self) -> &Shared {
        match self {
            Self::Borrowed(shared) => shared,
            Self::Owned(shared) => shared,
        }
    }
}

impl<'a> Permit<'a> {
    #[inline]
    pub(super) fn new(breaker: Held<'a>, ticket: Ticket) -> Self {
        Self { breaker, ticket: Some(ticket) }
    }

    /// The call succeeded.
    #[inline]
    pub fn success(mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.shared().succeed(&ticket);
        }
    }

    /// The call failed, and it is the dependency's fault.
    pub fn failure(self) {
        self.end(Outcome::Failure);
    }

    /// How the call ended says nothing about the dependency. Another probe can take its place.
    pub fn ignore(self) {
        self.end(Outcome::Ignored);
    }

    /// The call failed and the dependency said how long to stay away (429 or 503 with `Retry-After`): opens
    /// for that long, at most [`Policy::open_max`](super::Policy::open_max), whatever the rates are. For no time at
    /// all it is a failure like others.
    pub fn open_for(self, time: Duration) {
        self.end_as(Verdict::FailureFor(time));
    }

    /// As this verdict says.
    pub(crate) fn end_as(self, verdict: Verdict) {
        match verdict.outcome() {
            Outcome::Success => self.success(),
            outcome => self.end(outcome),
        }
    }

    fn end(mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.shared().end(&ticket, outcome);
        }
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.shared().end(&ticket, Outcome::Cancelled);
        }
    }
}
