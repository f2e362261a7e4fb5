//! The handle.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::Timestamp;
use mainstay_core::metrics::{Counter, Metrics, Unit};
use mainstay_core::secret::Secret;
use mainstay_core::store::StoreError;
use mainstay_core::time::Clock;

use super::error::Error;
use super::store::{Bounds, NewSession, Rotated, Rotation, Session, SessionStore};
use super::token::RefreshToken;
use crate::revocation::Revocations;

const REFRESHES: &str = "auth_session_refreshes_total";

/// Longest [`Session::about`], in bytes; the rest is cut off.
const MAX_ABOUT: usize = 256;
/// Longest subject, in bytes: as in a token.
const MAX_SUBJECT: usize = 256;

/// How long sessions last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOptions {
    /// A session that is not refreshed for so long is over. Default 14 days.
    pub idle: Duration,
    /// A session is over after so long. Default 90 days.
    pub lifetime: Duration,
    /// How long after it was replaced a token is late rather than reused. Default 10 s.
    pub grace: Duration,
    /// Sessions of one subject; the next ends the one used longest ago. Default 32.
    pub most: usize,
    /// Longest wait for the store. Default 5 s.
    pub timeout: Duration,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(14 * 86_400),
            lifetime: Duration::from_secs(90 * 86_400),
            grace: Duration::from_secs(10),
            most: 32,
            timeout: Duration::from_secs(5),
        }
    }
}

/// A session that has begun.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Opened {
    /// Its id: the `sid` of its access tokens.
    pub session_id: String,
    /// What refreshes it. For the client alone, and only once.
    pub refresh: Secret<String>,
    /// When it is over if it is not refreshed before.
    pub expires: Timestamp,
}

/// A session that goes on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Refreshed {
    /// Its id: the `sid` of its access tokens.
    pub session: String,
    /// Whose it is.
    pub subject: String,
    /// What refreshes it from now on.
    pub refresh: Secret<String>,
    /// When it is over if it is not refreshed before.
    pub expires: Timestamp,
}

/// Sessions and the tokens that refresh them. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    options: SessionOptions,
    revocations: Option<Revocations>,
    clock: Clock,
    meters: Arc<Meters>,
}

struct Meters {
    ok: Counter,
    invalid: Counter,
    elsewhere: Counter,
    reused: Counter,
    unavailable: Counter,
}

impl Sessions {
    /// Sessions in this store.
    #[must_use]
    pub fn new(
        store: Arc<dyn SessionStore>,
        options: SessionOptions,
        metrics: &Metrics,
        clock: Clock,
    ) -> Self {
        metrics.describe_counter(REFRESHES, Unit::None, "Sessions refreshed, by result.");
        let result = |result| metrics.counter(REFRESHES).with(&[("result", result)]);
        let meters = Meters {
            ok: result("ok"),
            invalid: result("invalid"),
            elsewhere: result("elsewhere"),
            reused: result("reused"),
            unavailable: result("unavailable"),
        };
        Self { store, options, revocations: None, clock, meters: Arc::new(meters) }
    }

    /// The same, which revoke the access tokens of a session that is ended.
    #[must_use]
    pub fn revoking(self, revocations: Revocations) -> Self {
        Self { revocations: Some(revocations), ..self }
    }

    /// Begins a session. `about` is what the user may recognise it by; control characters are left out of it, and
    /// what is beyond 256 bytes.
    ///
    /// # Errors
    /// [`Error::Subject`]; [`Error::Unavailable`], [`Error::Unknown`], [`Error::Rejected`] by the store.
    pub async fn open(&self, subject: &str, about: &str) -> Result<Opened, Error> {
        if !(1..=MAX_SUBJECT).contains(&subject.len()) {
            return Err(Error::Subject);
        }
        let (token, now) = (RefreshToken::new(), self.now());
        let session = Session {
            id: BASE64URL.encode(rand::random::<[u8; 16]>()),
            subject: subject.to_owned(),
            about: cut(about),
            opened: now,
            used: now,
            expires: after(now, self.options.lifetime),
        };
        let (session_id, expires) = (session.id.clone(), self.over(&session));
        let new = NewSession { session, family: token.family(), token: token.digest() };
        let ended = self.within(self.store.open(&new, self.options.most.max(1))).await?;
        if self.revoke_access(&ended).await.is_err() {
            tracing::warn!(sessions = ended.len(), "access tokens of sessions that made room live on");
        }
        Ok(Opened { session_id, refresh: token.text(), expires })
    }

    /// Goes on with a session, whose token is replaced. Of two who present one token at once, one goes on.
    ///
    /// If the future is dropped, or fails with [`Error::Unknown`], the token may have been replaced by one that nobody
    /// has.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Elsewhere`], [`Error::Reused`], and those of the store.
    pub async fn refresh(&self, token: &str) -> Result<Refreshed, Error> {
        let result = self.rotate(token).await;
        let counter = match &result {
            Ok(_) => &self.meters.ok,
            Err(Error::Elsewhere) => &self.meters.elsewhere,
            Err(Error::Reused { .. }) => &self.meters.reused,
            Err(Error::Invalid) => &self.meters.invalid,
            Err(_) => &self.meters.unavailable,
        };
        counter.increment(1);
        result
    }

    async fn rotate(&self, token: &str) -> Result<Refreshed, Error> {
        let token = RefreshToken::parse(token).ok_or(Error::Invalid)?;
        let (next, bounds) = (token.next(), self.bounds());
        let rotation = Rotation {
            family: token.family(),
            presented: token.digest(),
            next: next.digest(),
            bounds,
            grace_since: before(bounds.now, self.options.grace),
        };
        match self.within(self.store.rotate(&rotation)).await? {
            Rotated::Fresh(session) => {
                let expires = self.over(&session);
                let Session { id, subject, .. } = session;
                Ok(Refreshed { session: id, subject, refresh: next.text(), expires })
            }
            Rotated::Elsewhere => Err(Error::Elsewhere),
            Rotated::Unknown => Err(Error::Invalid),
            Rotated::Reused(session) => {
                let Session { id, subject, .. } = session;
                let revoked = self.revoke_access(std::slice::from_ref(&id)).await.is_ok();
                tracing::warn!(
                    session = id,
                    subject,
                    revoked,
                    "a used refresh token came back: ended its session"
                );
                Err(Error::Reused { session: id, subject })
            }
        }
    }

    /// Ends a session. Answers whether it was there; one that was not there is over all the same.
    ///
    /// # Errors
    /// [`Error::AccessRemains`], and those of the store.
    pub async fn revoke(&self, session: &str) -> Result<bool, Error> {
        let there = self.within(self.store.revoke(session, None)).await?;
        self.revoke_access(&[session.to_owned()]).await?;
        Ok(there)
    }

    /// Ends a session of this subject. `false` if there is none, or it is somebody else's.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    pub async fn revoke_own(&self, subject: &str, session: &str) -> Result<bool, Error> {
        let there = self.within(self.store.revoke(session, Some(subject))).await?;
        if there {
            self.revoke_access(&[session.to_owned()]).await?;
        }
        Ok(there)
    }

    /// Ends all sessions of a subject. Answers how many there were.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    pub async fn revoke_all(&self, subject: &str) -> Result<usize, Error> {
        self.revoke_but(subject, None).await
    }

    /// Ends all sessions of a subject but this one, as after a change of the password. Answers how many there were.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    pub async fn revoke_others(&self, subject: &str, session: &str) -> Result<usize, Error> {
        self.revoke_but(subject, Some(session)).await
    }

    /// The sessions of a subject that are not over, those used last first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, subject: &str) -> Result<Vec<Session>, Error> {
        self.within(self.store.list(subject, self.bounds())).await
    }

    /// Forgets sessions that are over; to be called now and then. Answers how many.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn purge(&self) -> Result<u64, Error> {
        self.within(self.store.purge(self.bounds())).await
    }

    async fn revoke_but(&self, subject: &str, but: Option<&str>) -> Result<usize, Error> {
        let ended = self.within(self.store.revoke_all(subject, but)).await?;
        self.revoke_access(&ended).await?;
        Ok(ended.len())
    }

    /// The sessions are over by then, whatever becomes of this.
    async fn revoke_access(&self, sessions: &[String]) -> Result<(), Error> {
        let Some(revocations) = &self.revocations else { return Ok(()) };
        match revocations.revoke_sessions(sessions).await {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "cannot revoke the access tokens of sessions that ended");
                Err(Error::AccessRemains)
            }
        }
    }

    async fn within<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, Error> {
        match tokio::time::timeout(self.options.timeout, answer).await {
            Ok(answer) => answer.map_err(Error::from),
            Err(_) => Err(StoreError::unknown("no answer in time").into()),
        }
    }

    /// In whole microseconds, as every store keeps it.
    fn now(&self) -> Timestamp {
        let now = self.clock.wall();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    fn bounds(&self) -> Bounds {
        let now = self.now();
        Bounds { now, idle_since: before(now, self.options.idle) }
    }

    fn over(&self, session: &Session) -> Timestamp {
        after(session.used, self.options.idle).min(session.expires)
    }
}

fn after(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

fn before(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

fn cut(about: &str) -> String {
    let mut text: String = about.chars().filter(|c| !c.is_control()).take(MAX_ABOUT).collect();
    text.truncate(text.floor_char_boundary(MAX_ABOUT));
    text
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("options", &self.options).finish_non_exhaustive()
    }
}
