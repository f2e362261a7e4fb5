//! Sessions in this process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use mainstay_core::store::StoreError;

use super::store::{Bounds, Digest, NewSession, Rotated, Rotation, Session, SessionStore};

/// Sessions in this process, gone with it: for tests and development. At most 100,000, beyond which no new one begins.
#[derive(Debug, Default)]
pub struct MemorySessions(Mutex<Rows>);

type Rows = HashMap<Digest, Row>;

const MAX_SESSIONS: usize = 100_000;

#[derive(Debug)]
struct Row {
    session: Session,
    token: Digest,
    previous: Option<Digest>,
    rotated: Timestamp,
}

impl MemorySessions {
    /// Without sessions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the sessions that are chosen and answers their ids.
fn end(rows: &mut Rows, chosen: impl Fn(&Session) -> bool) -> Vec<String> {
    rows.extract_if(|_, row| chosen(&row.session)).map(|(_, row)| row.session.id).collect()
}

/// Those used last first; the id makes the order total.
fn sort(sessions: &mut [Session]) {
    sessions.sort_by(|one, other| (other.used, &one.id).cmp(&(one.used, &other.id)));
}

#[async_trait]
impl SessionStore for MemorySessions {
    async fn open(&self, new: &NewSession, most: usize) -> Result<Vec<String>, StoreError> {
        let NewSession { session, family, token } = new.clone();
        let mut rows = self.rows();
        if rows.len() >= MAX_SESSIONS {
            rows.retain(|_, row| session.opened < row.session.expires);
        }
        if rows.len() >= MAX_SESSIONS {
            return Err(StoreError::rejected("too many sessions"));
        }
        let subject = session.subject.clone();
        let rotated = session.opened;
        rows.insert(family, Row { session, token, previous: None, rotated });
        let of_subject = rows.values().map(|row| &row.session).filter(|session| session.subject == subject);
        let mut sessions: Vec<Session> = of_subject.cloned().collect();
        sort(&mut sessions);
        let surplus: Vec<String> = sessions.into_iter().skip(most).map(|session| session.id).collect();
        Ok(if surplus.is_empty() { surplus } else { end(&mut rows, |session| surplus.contains(&session.id)) })
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<Rotated, StoreError> {
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(&rotation.family) else { return Ok(Rotated::Unknown) };
        if !rotation.bounds.admit(&row.session) {
            return Ok(Rotated::Unknown);
        }
        if row.token == rotation.presented {
            row.previous = Some(std::mem::replace(&mut row.token, rotation.next));
            (row.rotated, row.session.used) = (rotation.bounds.now, rotation.bounds.now);
            return Ok(Rotated::Fresh(row.session.clone()));
        }
        if row.previous == Some(rotation.presented) && row.rotated >= rotation.grace_since {
            return Ok(Rotated::Elsewhere);
        }
        let row = rows.remove(&rotation.family).expect("it was just there");
        Ok(Rotated::Reused(row.session))
    }

    async fn revoke(&self, id: &str, owner: Option<&str>) -> Result<bool, StoreError> {
        let own = |session: &Session| owner.is_none_or(|owner| owner == session.subject);
        Ok(!end(&mut self.rows(), |session| session.id == id && own(session)).is_empty())
    }

    async fn revoke_all(&self, subject: &str, but: Option<&str>) -> Result<Vec<String>, StoreError> {
        Ok(end(&mut self.rows(), |session| session.subject == subject && but != Some(&session.id)))
    }

    async fn list(&self, subject: &str, bounds: Bounds) -> Result<Vec<Session>, StoreError> {
        let rows = self.rows();
        let all = rows.values().map(|row| &row.session);
        let mut sessions: Vec<Session> =
            all.filter(|session| session.subject == subject && bounds.admit(session)).cloned().collect();
        sort(&mut sessions);
        Ok(sessions)
    }

    async fn purge(&self, bounds: Bounds) -> Result<u64, StoreError> {
        Ok(end(&mut self.rows(), |session| !bounds.admit(session)).len() as u64)
    }
}
