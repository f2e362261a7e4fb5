//! What keeps sessions.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use mainstay_core::store::StoreError;

/// Keeps sessions. Each verb is a whole decision: it happens at once for all who share the store, or not at all.
///
/// Moments are whole microseconds, and given by the caller: a store has no clock.
#[async_trait]
pub trait SessionStore: Send + Sync + fmt::Debug {
    /// Keeps a new session. If its subject then has more than `most`, those used longest ago end. Answers the ids of
    /// these.
    async fn open(&self, new: &NewSession, most: usize) -> Result<Vec<String>, StoreError>;

    /// Replaces the token of a session by the next one, if the one presented is its last.
    async fn rotate(&self, rotation: &Rotation) -> Result<Rotated, StoreError>;

    /// Ends a session, if `owner` says nobody or its subject. Answers whether there was such a session.
    async fn revoke(&self, id: &str, owner: Option<&str>) -> Result<bool, StoreError>;

    /// Ends all sessions of a subject but one. Answers their ids.
    async fn revoke_all(&self, subject: &str, but: Option<&str>) -> Result<Vec<String>, StoreError>;

    /// The sessions of a subject that are not over, those used last first.
    async fn list(&self, subject: &str, bounds: Bounds) -> Result<Vec<Session>, StoreError>;

    /// Forgets sessions that are over. Answers how many.
    async fn purge(&self, bounds: Bounds) -> Result<u64, StoreError>;
}

/// A session: what one sign-in began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id, to be shown; it proves nothing.
    pub id: String,
    /// Whose it is.
    pub subject: String,
    /// What the user may recognise it by, such as the name of the browser.
    pub about: String,
    /// When it began.
    pub opened: Timestamp,
    /// When it was refreshed last.
    pub used: Timestamp,
    /// When it is over, however much it is used.
    pub expires: Timestamp,
}

/// A session to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// What is known of it.
    pub session: Session,
    /// Names the session in its tokens; no other session has it.
    pub family: Digest,
    /// Of its token.
    pub token: Digest,
}

/// A token that is presented, and what comes in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// The session it says it belongs to.
    pub family: Digest,
    /// Of the token presented.
    pub presented: Digest,
    /// Of the one that takes its place.
    pub next: Digest,
    /// Which sessions are over.
    pub bounds: Bounds,
    /// A token that was replaced before this moment is reused, one replaced since then is late.
    pub grace_since: Timestamp,
}

/// Which sessions are over: those that expire at `now` or before, and those last used before `idle_since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The calendar's time.
    pub now: Timestamp,
    /// The earliest last use.
    pub idle_since: Timestamp,
}

impl Bounds {
    /// Whether this session is not over.
    #[must_use]
    pub fn admit(&self, session: &Session) -> bool {
        self.now < session.expires && self.idle_since <= session.used
    }
}

/// What became of a token that was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotated {
    /// The next one takes its place; the session was used now.
    Fresh(Session),
    /// It was replaced within the grace time: by another request of the same client, most likely. Nothing changed.
    Elsewhere,
    /// It is not the last token of its session: somebody has a copy. The session has ended.
    Reused(Session),
    /// There is no such session (any more).
    Unknown,
}

/// The SHA-256 of something secret and random. Equal digests are compared as they are: who does not know the secret
/// cannot choose its digest, and learns nothing from how long the comparison takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a secret.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, secret);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// 64 hexadecimal digits, as a store writes it.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}
