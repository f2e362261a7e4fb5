//! Tokens that are worth nothing before they expire.
//!
//! # Promise
//! Once a revocation has returned, every check that begins afterwards knows it, in every process on the same store,
//! until the last token it is about has expired. One that fails takes no earlier one away.
//!
//! # Not promised
//! - That a store which is full keeps them: give revocations one of their own, with room for what is revoked within one
//!   life of a token (about 200 bytes each in memory). On a server, one that does not evict.
//! - That a revocation which failed was not made: it may be repeated.
//!
//! # If the store is down
//! As declared by [`RevocationOutage`]: with `Allow` tokens are worth what they say, which is bounded by their
//! life; with `Refuse` none is, and the check says [`Check::Unavailable`]. Revoking fails.
//!
//! # Defaults
//! 500 ms for an answer of the store. The rule and the longest life of a token are given.
//!
//! # Metrics
//! - `auth_revocation_checks_total{result}`: `clear`, `revoked`, `unavailable` (whatever the rule made of it).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_core::cache::{Entry, Found, Store, Value};
use mainstay_core::codec::Codec;
use mainstay_core::config::RevocationOutage;
use mainstay_core::key::Key;
use mainstay_core::metrics::{Counter, Metrics, Unit};
use mainstay_core::store::StoreError;
use mainstay_core::time::Clock;

use crate::token::Claims;

const CHECKS: &str = "auth_revocation_checks_total";

/// How much longer than the token its revocation is kept: the longest leeway, and clocks that differ by as much.
const MARGIN: Duration = Duration::from_secs(120);

/// Longest time that anything is kept: ten years, as in a cache.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_millis(500);

/// What was revoked: tokens, sessions, and all that a subject had. Cheap to clone.
///
/// They lie in a store of the cache, and not in a [`Cache`](mainstay_core::cache::Cache): that one makes up for a write
/// that failed by taking the value away, which is right for a copy and wrong for a revocation.
#[derive(Debug, Clone)]
pub struct Revocations {
    store: Arc<dyn Store>,
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
    /// Revocations in this store, of tokens that live for up to `longest`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        outage: RevocationOutage,
        longest: Duration,
        metrics: &Metrics,
        clock: Clock,
    ) -> Self {
        metrics.describe_counter(CHECKS, Unit::None, "Looks for a token among the revoked ones, by result.");
        let result = |result| metrics.counter(CHECKS).with(&[("result", result)]);
        let (clear, revoked, unavailable) = (result("clear"), result("revoked"), result("unavailable"));
        Self { store, outage, longest, clock, clear, revoked, unavailable }
    }

    /// Revokes one token, by its id and the moment it expires.
    ///
    /// # Errors
    /// What the store says of a write.
    pub async fn revoke_token(&self, id: &str, expires: Timestamp) -> Result<(), StoreError> {
        let left = expires.duration_since(self.clock.wall());
        // What has expired is worth nothing already.
        let left = Duration::try_from(left).unwrap_or_default();
        self.keep(&[token_key(id)], left).await
    }

    /// Revokes all tokens of these sessions.
    ///
    /// # Errors
    /// What the store says of a write; some may be revoked then.
    pub async fn revoke_sessions(&self, sessions: &[String]) -> Result<(), StoreError> {
        let keys: Vec<String> = sessions.iter().map(|session| session_key(session)).collect();
        self.keep(&keys, self.longest).await
    }

    /// Revokes all tokens of a subject that were issued until now; those without `iat` too.
    ///
    /// # Errors
    /// What the store says of a write.
    pub async fn revoke_subject(&self, subject: &str) -> Result<(), StoreError> {
        let now = self.clock.wall().as_microsecond();
        let (key, entry) = (subject_key(subject), entry(now, self.longest));
        // Of two at once, the later moment stays.
        let put = self.store.put_if_newer(named(&key)?, entry, now.unsigned_abs());
        put.within(TIMEOUT).await.map(drop)
    }

    /// Whether this token was revoked. Asks the store once.
    pub async fn check(&self, claims: &Claims) -> Check {
        let subject = subject_key(&claims.subject);
        let others = [claims.id.as_deref().map(token_key), claims.session.as_deref().map(session_key)];
        let mut keys = vec![subject.as_str()];
        keys.extend(others.iter().flatten().map(String::as_str));
        let key = |name| Key::new(name).expect("what verified claims name is bounded");
        let keys: Vec<Key<'_>> = keys.into_iter().map(key).collect();
        let Ok(found) = self.store.get_many(&keys).within(TIMEOUT).await else {
            self.unavailable.increment(1);
            return match self.outage {
                RevocationOutage::Allow => Check::Clear,
                _ => Check::Unavailable,
            };
        };
        let issued = claims.issued.map_or(i64::MIN, Timestamp::as_microsecond);
        // What cannot be read is a revocation all the same.
        let until = |found: &Found| found.value.decode().ok().flatten().unwrap_or(i64::MAX);
        let by_subject = found[0].as_ref().is_some_and(|found| issued <= until(found));
        if by_subject || found[1..].iter().any(Option::is_some) {
            self.revoked.increment(1);
            return Check::Revoked;
        }
        self.clear.increment(1);
        Check::Clear
    }

    async fn keep(&self, keys: &[String], time: Duration) -> Result<(), StoreError> {
        let now = self.clock.wall().as_microsecond();
        let keys = keys.iter().map(|key| named(key)).collect::<Result<Vec<_>, _>>()?;
        let entries: Vec<_> = keys.into_iter().map(|key| (key, entry(now, time))).collect();
        self.store.put(&entries).within(TIMEOUT).await
    }
}

/// The moment, kept until the last token has expired.
fn entry(now: i64, time: Duration) -> Entry {
    let value = Arc::new(Value::new(now.to_string().into(), Codec::Json, Duration::ZERO));
    let fresh_for = time.saturating_add(MARGIN).min(LONGEST);
    Entry { value, fresh_for, stale_for: Duration::ZERO, tags: Vec::new() }
}

fn named(key: &str) -> Result<Key<'_>, StoreError> {
    Key::new(key).map_err(|error| StoreError::rejected(error.to_string()))
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
