//! What this process knows of a lock it holds.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::attempt::Grant;
use super::{Fence, Token};
use crate::key::Key;
use crate::time::Moment;

/// Shared by the guard and the keeper.
#[derive(Debug)]
pub(super) struct Hold {
    name: String,
    pub(super) token: Token,
    pub(super) fence: Fence,
    pub(super) ttl: Duration,
    /// How long the attempt must not come back after its release.
    pub(super) tombstone: Duration,
    pub(super) since: Moment,
    /// It is not renewed beyond this.
    give_up: Moment,
    /// Microseconds of a [`Moment`]; zero once it is lost or released, and then for ever.
    valid_until: AtomicU64,
    /// Where it is in the keeper's schedule; written under its mutex only.
    pub(super) due: AtomicU64,
    /// Made when somebody first wants to hear of a loss, or by the loss.
    lost: OnceLock<CancellationToken>,
}

impl Hold {
    /// Valid from the moment the acquire was sent.
    pub(super) fn new(name: String, grant: &Grant, ttl: Duration, max_hold: Duration) -> Self {
        let Grant { token, fence, sent, tombstone, .. } = *grant;
        let give_up = sent + max_hold;
        Self {
            name,
            token,
            fence,
            ttl,
            tombstone,
            since: sent,
            give_up,
            valid_until: AtomicU64::new(valid_until(sent, ttl).min(give_up).as_micros()),
            due: AtomicU64::new(0),
            lost: OnceLock::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn key(&self) -> Key<'_> {
        Key::new(&self.name).expect("checked before it was acquired")
    }

    pub(super) fn valid_until(&self) -> Moment {
        Moment::from_micros(self.valid_until.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn is_valid(&self, now: Moment) -> bool {
        now < self.valid_until()
    }

    /// When the keeper must look at it, if it was renewed last at `sent`: a third of the ttl later, or, where
    /// renewing would gain nothing, when it ends.
    pub(super) fn next_due(&self, sent: Moment) -> Moment {
        let until = self.valid_until();
        if until < self.give_up { (sent + self.ttl / 3).min(until) } else { until }
    }

    /// Renewed by a question sent at `sent`. What is lost stays lost.
    pub(super) fn extend(&self, sent: Moment) {
        let until = valid_until(sent, self.ttl).min(self.give_up).as_micros();
        let later = |old: u64| (old != 0).then_some(old.max(until));
        // Refused if it is lost: nothing to do then.
        let _kept = self.valid_until.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// Ends it and tells whoever listens or will. Says whether this call did it.
    pub(super) fn lose(&self) -> bool {
        let first = self.valid_until.swap(0, Ordering::AcqRel) != 0;
        // Made here if need be, so that one who asks for it at this moment gets a cancelled one.
        self.lost_token().cancel();
        first
    }

    /// Ends it when nobody can begin to listen any more.
    pub(super) fn end(&self) {
        self.valid_until.store(0, Ordering::Release);
        if let Some(token) = self.lost.get() {
            token.cancel();
        }
    }

    pub(super) fn lost_token(&self) -> &CancellationToken {
        self.lost.get_or_init(CancellationToken::new)
    }
}

/// The holder's view ends before the store's: by the time the question took, and by a margin for clocks that do
/// not run equally fast.
pub(super) fn valid_until(sent: Moment, ttl: Duration) -> Moment {
    (sent + ttl) - (ttl / 100 + Duration::from_millis(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_that_comes_back_late_does_not_bring_back_what_was_lost() {
        let (sent, ttl, token) = (Moment::from_micros(1_000_000), Duration::from_secs(10), Token::random());
        let grant =
            Grant { token, fence: Fence::from(1), sent, waited: Duration::ZERO, tombstone: Duration::ZERO };
        let hold = Hold::new("k".to_owned(), &grant, ttl, ttl * 10);
        hold.extend(sent + ttl / 2);
        assert!(hold.is_valid(sent + ttl));
        assert!(hold.lose() && !hold.lose(), "lost once");
        hold.extend(sent + ttl / 2);
        assert!(!hold.is_valid(sent));
    }
}
