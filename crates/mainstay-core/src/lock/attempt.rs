//! One attempt to hold a key, from before the store is first asked until it is granted or cancelled.

use std::time::Duration;

use super::hold::valid_until;
use super::keeper::Keeper;
use super::store::{Acquired, Claim};
use super::terms::Checked;
use super::{Error, Fence, Token};
use crate::key::Key;
use crate::store::StoreError;
use crate::time::Moment;

/// Dropping it cancels what may have taken effect.
pub(super) struct Attempt<'a> {
    keeper: &'a Keeper,
    key: Key<'a>,
    terms: Checked,
    token: Token,
    /// A question is without an answer: a copy of it may still arrive.
    unanswered: bool,
    granted: Option<Granted>,
    begun: Option<Moment>,
    /// Whether the keeper waits for this attempt.
    counted: bool,
}

#[derive(Clone, Copy)]
struct Granted {
    fence: Fence,
    sent: Moment,
    heard: Moment,
}

/// What was granted. The keeper counts the attempt until it is told [`Keeper::attempt_ended`].
pub(super) struct Grant {
    pub(super) token: Token,
    pub(super) fence: Fence,
    /// When the question was sent.
    pub(super) sent: Moment,
    /// From asking for the lock to having it.
    pub(super) waited: Duration,
    /// How long the attempt must not come back after its release.
    pub(super) tombstone: Duration,
}

pub(super) enum Answer {
    Granted,
    /// By others; until then, if not renewed.
    Held(Moment),
}

impl<'a> Attempt<'a> {
    pub(super) fn new(keeper: &'a Keeper, key: Key<'a>, terms: Checked) -> Self {
        keeper.attempt_begins();
        Self {
            keeper,
            key,
            terms,
            token: Token::random(),
            unanswered: false,
            granted: None,
            begun: None,
            counted: true,
        }
    }

    /// When the attempt began: now, if this is the first that is heard of it.
    pub(super) fn begun(&mut self) -> Moment {
        *self.begun.get_or_insert_with(|| self.keeper.clock.now())
    }

    /// Asks once, waiting for at most `limit` and the operation's own timeout.
    pub(super) async fn ask(&mut self, limit: Duration) -> Result<Answer, StoreError> {
        let Checked { permits, ttl, floor, .. } = self.terms;
        let claim = Claim { attempt: self.token, permits, ttl, floor };
        let before = std::mem::replace(&mut self.unanswered, true);
        let sent = self.keeper.clock.now();
        self.begun.get_or_insert(sent);
        let reply = self.keeper.store.acquire(self.key, claim);
        let answer = reply.within(limit.min(self.keeper.op_timeout)).await;
        if !matches!(answer, Err(StoreError::Unknown { .. })) {
            self.unanswered = before;
        }
        match answer? {
            Acquired::Granted { fence } => {
                let heard = self.keeper.clock.now();
                self.granted = Some(Granted { fence, sent, heard });
                if heard < valid_until(sent, ttl) {
                    return Ok(Answer::Granted);
                }
                Err(StoreError::unknown("granted too late to be trusted"))
            }
            Acquired::Held { retry_in, fence } => {
                tracing::debug!(
                    key = self.key.name(),
                    fence = fence.get(),
                    ?retry_in,
                    "lock held by another"
                );
                Ok(Answer::Held(self.keeper.clock.now() + retry_in))
            }
            Acquired::Cancelled => Err(StoreError::rejected("the attempt was cancelled")),
        }
    }

    /// Whether asking again could tell what became of the attempt.
    pub(super) fn in_doubt(&self) -> bool {
        self.unanswered || self.granted.is_some()
    }

    /// What to tell the caller when the store failed.
    pub(super) fn failed(&self, error: StoreError) -> Error {
        if self.unanswered { Error::Unknown(error) } else { error.into() }
    }

    /// The grant, whose release is from now on the caller's affair.
    pub(super) fn take(mut self) -> Option<Grant> {
        let Granted { fence, sent, heard } = self.granted.take()?;
        let waited = heard.saturating_since(self.begun.unwrap_or(sent));
        self.counted = false;
        let tombstone = self.tombstone();
        self.unanswered = false;
        Some(Grant { token: self.token, fence, sent, waited, tombstone })
    }

    /// Outlives every copy of a question that may be on its way, and what it could have been granted.
    fn tombstone(&self) -> Duration {
        if self.unanswered { 2 * (self.keeper.op_timeout + self.terms.ttl) } else { Duration::ZERO }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.unanswered || self.granted.is_some() {
            self.keeper.release(self.key.name(), self.token, self.tombstone(), self.terms.ttl);
        }
        if self.counted {
            self.keeper.attempt_ended();
        }
    }
}
