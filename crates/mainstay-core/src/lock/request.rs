use std::sync::Arc;
use std::time::Duration;

use super::acquire::acquire;
use super::attempt::Grant;
use super::terms::{Checked, Patience, Terms};
use super::{Error, Fence, Guard, Inner, Lease};
use crate::key::Key;

/// What to lock and how: one key, or several ([`RequestAll`](super::RequestAll)), for each of which the options hold.
/// A value: nothing happens before one of its asynchronous methods is polled.
#[derive(Debug, Clone)]
#[must_use = "nothing is locked before `acquire`, `try_acquire` or `lease`"]
pub struct Request<K = String> {
    pub(super) inner: Arc<Inner>,
    pub(super) keys: K,
    pub(super) terms: Terms,
}

impl<K> Request<K> {
    pub(super) fn new(inner: Arc<Inner>, keys: K, terms: Terms) -> Self {
        Self { inner, keys, terms }
    }

    /// How long the lock stays held once its holder has fallen silent: 10 ms to 24 h. A guard renews it at every
    /// third of this.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.terms.ttl = Some(ttl);
        self
    }

    /// Comes back up to `attempts` times (at most 1,000) after the first try. The wait before each is doubled, from
    /// `delay` (1 ms to 1 h) to 30 s, and up to half of it is taken off at random. A release in between is not
    /// noticed, and others may be faster: to be served in order, [`wait`](Self::wait).
    pub fn retry(mut self, attempts: u32, delay: Duration) -> Self {
        self.terms.patience = Some(Patience::Retry { attempts, delay });
        self
    }

    /// Stands in line for up to this long (at most 24 h), for all keys together; zero tries once.
    pub fn wait(mut self, limit: Duration) -> Self {
        self.terms.patience = Some(Patience::Wait(limit));
        self
    }

    /// A guard is lost when this has passed since it was acquired; at least the ttl.
    pub fn max_hold(mut self, limit: Duration) -> Self {
        self.terms.max_hold = Some(limit);
        self
    }

    /// The fence must be higher than this: the highest that the protected resource has seen. It counts as at most
    /// 24 h ahead of the calendar.
    pub fn floor(mut self, floor: Fence) -> Self {
        self.terms.floor = floor;
        self
    }
}

impl Request {
    /// Tries once. Refused, too, while others in this process stand in line.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), of which it has the rest, too.
    pub async fn try_acquire(mut self) -> Result<Guard, Error> {
        self.terms.patience = Some(Patience::Try);
        self.acquire().await
    }

    /// Acquires, with the patience that was asked for: [`retry`](Self::retry), [`wait`](Self::wait), or
    /// [`Options::wait`](super::Options::wait).
    ///
    /// Dropping the future at any point gives up the place in line and cancels what may have taken effect.
    ///
    /// # Errors
    /// [`Error::Key`] and [`Error::Option`] before anything is asked; [`Error::Contended`] when patience ends;
    /// [`Error::Unavailable`] at once when the store is not reached; [`Error::Unknown`] when it did not answer (it is
    /// asked again until the wait is over, or three times); [`Error::Stopped`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn acquire(self) -> Result<Guard, Error> {
        let Self { inner, keys: key, terms } = self;
        let terms = terms.check(&inner.options)?;
        let grant = granted(&inner, &key, terms).await?;
        Guard::keep(&inner, key, terms, &grant)
    }

    /// Acquires as [`acquire`](Self::acquire) does, but nobody watches over it: it is not renewed and not released
    /// on drop, it ends with its ttl or with [`Locks::release`](super::Locks::release).
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn lease(self) -> Result<Lease, Error> {
        let Self { inner, keys: key, terms } = self;
        let terms = terms.check(&inner.options)?;
        let Grant { token, fence, .. } = granted(&inner, &key, terms).await?;
        inner.keeper.attempt_ended();
        Ok(Lease { key, token, fence, ttl: terms.ttl })
    }
}

async fn granted(inner: &Inner, key: &str, terms: Checked) -> Result<Grant, Error> {
    let key = Key::new(key)?;
    inner.start();
    let result = acquire(inner, key, terms).await;
    let meters = &inner.keeper.meters;
    meters.ended(&result);
    let grant = result?.take().expect("an attempt that ended well has a grant");
    meters.wait.record_duration(grant.waited);
    Ok(grant)
}
