//! Tokens that are worth nothing before they expire.
//!
//! # Promise
//! Once a revocation has returned, every check that begins afterwards knows it, in every process on the same cache,
//! until the last token it is about has expired.
//!
//! # Not promised
//! - That a cache which is full keeps them: give revocations one of their own, with room for what expires within one
//!   life of a token. On a server, one that does not evict.
//! - That a revocation which failed was not made: it may be repeated.
//!
//! # If the store is down
//! As declared by [`RevocationOutage`]: with `Allow` tokens are worth what they say, which is bounded by their
//! life; with `Refuse` none is, and the check says [`Check::Unavailable`]. Revoking fails.
//!
//! # Defaults
//! None: the rule and the longest life of a token are given.
//!
//! # Metrics
//! - `auth_revocation_checks_total{result}`: `clear`, `revoked`, `unavailable` (whatever the rule made of it).

use std::time::Duration;

use jiff::Timestamp;
use mainstay_core::cache::{self, Cache, Policy};
use mainstay_core::config::RevocationOutage;
use mainstay_core::metrics::{Counter, Metrics, Unit};
use mainstay_core::time::Clock;

use crate::token::Claims;

const CHECKS: &str = "auth_revocation_checks_total";

/// How much longer than the token its revocation is kept: the longest leeway, and clocks that differ by as much.
const MARGIN: Duration = Duration::from_secs(120);

/// What was revoked: tokens, sessions, and all that a subject had. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Revocations {
    cache: Cache,
    outage: RevocationOutage,
    longest: Duration,
    clock: Clock,
    clear: Counter,
    revoked: Counter,
    unavailable: Counter,
}

/// What revocations say of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It is worth what it says.
    Clear,
    /// It is worth nothing.
    Revoked,
    /// Nobody knows, and the rule is to refuse then.
    Unavailable,
}

impl Revocations {
    /// Revocations in this cache, of tokens that live for up to `longest`.
    #[must_use]
    pub fn new(
        cache: Cache,
        outage: RevocationOutage,
        longest: Duration,
        metrics: &Metrics,
        clock: Clock,
    ) -> Self {
        metrics.describe_counter(CHECKS, Unit::None, "Looks for a token among the revoked ones, by result.");
        let result = |result| metrics.counter(CHECKS).with(&[("result", result)]);
        let (clear, revoked, unavailable) = (result("clear"), result("revoked"), result("unavailable"));
        Self { cache, outage, longest, clock, clear, revoked, unavailable }
    }

    /// Revokes one token, by its id and the moment it expires.
    ///
    /// # Errors
    /// What the cache says of a write.
    pub async fn revoke_token(&self, id: &str, expires: Timestamp) -> Result<(), cache::Error> {
        let left = expires.duration_since(self.clock.wall());
        // What has expired is worth nothing already.
        let left = Duration::try_from(left).unwrap_or_default();
        self.keep(&[token_key(id)], left).await
    }

    /// Revokes all tokens of these sessions.
    ///
    /// # Errors
    /// What the cache says of a write; some may be revoked then.
    pub async fn revoke_sessions(&self, sessions: &[String]) -> Result<(), cache::Error> {
        let keys: Vec<String> = sessions.iter().map(|session| session_key(session)).collect();
        self.keep(&keys, self.longest).await
    }

    /// Revokes all tokens of a subject that were issued until now; those without `iat` too.
    ///
    /// # Errors
    /// What the cache says of a write.
    pub async fn revoke_subject(&self, subject: &str) -> Result<(), cache::Error> {
        self.keep(&[subject_key(subject)], self.longest).await
    }

    /// Whether this token was revoked. Asks the cache once.
    pub async fn check(&self, claims: &Claims) -> Check {
        let subject = subject_key(&claims.subject);
        let others = [claims.id.as_deref().map(token_key), claims.session.as_deref().map(session_key)];
        let mut keys = vec![subject.as_str()];
        keys.extend(others.iter().flatten().map(String::as_str));
        let Ok(found) = self.cache.get_many::<i64>(&keys).await else {
            self.unavailable.increment(1);
            return match self.outage {
                RevocationOutage::Allow => Check::Clear,
                _ => Check::Unavailable,
            };
        };
        let issued = claims.issued.map_or(i64::MIN, Timestamp::as_microsecond);
        let by_subject = found[0].is_some_and(|not_before| issued <= not_before);
        if by_subject || found[1..].iter().any(Option::is_some) {
            self.revoked.increment(1);
            return Check::Revoked;
        }
        self.clear.increment(1);
        Check::Clear
    }

    /// Keeps the moment, until the last token has expired: not a moment less, and with no chance in it.
    async fn keep(&self, keys: &[String], time: Duration) -> Result<(), cache::Error> {
        let policy = Policy::new(time.saturating_add(MARGIN)).jitter(0.0);
        let now = self.clock.wall().as_microsecond();
        let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), now)).collect();
        self.cache.set_many(&entries, policy).await
    }
}

fn token_key(id: &str) -> String {
    format!("revoked:token:{id}")
}

fn session_key(session: &str) -> String {
    format!("revoked:session:{session}")
}

fn subject_key(subject: &str) -> String {
    format!("revoked:subject:{subject}")
}
