use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::{FutureExt, select_all};

use super::guard::until_lost;
use super::store::Release;
use super::terms::Patience;
use super::{Error, Fence, Guard, Lost, Request};

/// Bounds what one request holds.
const MAX_KEYS: usize = 64;

/// What to lock together, and how; see [`Locks::lock_all`](super::Locks::lock_all).
pub type RequestAll = Request<BTreeSet<String>>;

impl RequestAll {
    /// Tries each key once.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn try_acquire(mut self) -> Result<Guards, Error> {
        self.terms.patience = Some(Patience::Try);
        self.acquire().await
    }

    /// Acquires the keys one after the other, in their order. Dropping the future, or an error, releases those
    /// acquired so far, the last first.
    ///
    /// # Errors
    /// As [`Request::acquire`], and [`Error::Option`] for no key or more than 64.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn acquire(self) -> Result<Guards, Error> {
        let Self { inner, keys, mut terms } = self;
        if !(1..=MAX_KEYS).contains(&keys.len()) {
            return Err(Error::Option { field: "keys", reason: "must be between 1 and 64" });
        }
        let patience = terms.check(&inner.options)?.patience;
        let begun = inner.keeper.clock.now();
        let mut guards = Guards(Vec::with_capacity(keys.len()));
        for key in keys {
            if let Patience::Wait(limit) = patience {
                let passed = inner.keeper.clock.now().saturating_since(begun);
                terms.patience = Some(Patience::Wait(limit.saturating_sub(passed)));
            }
            guards.0.push(Request::new(Arc::clone(&inner), key, terms.clone()).acquire().await?);
        }
        Ok(guards)
    }
}

/// Several held locks, in the order of their keys. Dropping them releases all, the last first.
#[derive(Debug)]
#[must_use = "dropping the guards releases their locks"]
pub struct Guards(Vec<Guard>);

impl Guards {
    /// The guards, in the order of their keys.
    pub fn iter(&self) -> std::slice::Iter<'_, Guard> {
        self.0.iter()
    }

    /// The fence of this key, if it is among them.
    #[must_use]
    pub fn fence(&self, key: &str) -> Option<Fence> {
        self.iter().find(|guard| guard.key() == key).map(Guard::fence)
    }

    /// Ends when one of the locks no longer protects.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        select_all(self.iter().map(|guard| guard.lost().boxed())).map(|(lost, ..)| lost)
    }

    /// As [`Guard::check`], of all of them.
    ///
    /// # Errors
    /// [`Lost`]: one of them is.
    pub fn check(&self) -> Result<(), Lost> {
        self.iter().try_for_each(Guard::check)
    }

    /// As [`Guard::run`], while all are held.
    ///
    /// # Errors
    /// [`Lost`]: one of them was.
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, Lost> {
        until_lost(future, self.lost(), || self.check()).await
    }

    /// Releases them, the last first, and says whether all were still held.
    ///
    /// # Errors
    /// The first failure, as [`Guard::release`]; the others are released nevertheless.
    pub async fn release(mut self) -> Result<Release, Error> {
        let mut outcome = Ok(Release::Released);
        while let Some(guard) = self.0.pop() {
            match (guard.release().await, &outcome) {
                (Ok(Release::NotHeld), Ok(_)) => outcome = Ok(Release::NotHeld),
                (Err(error), Ok(_)) => outcome = Err(error),
                _ => {}
            }
        }
        outcome
    }
}

impl<'a> IntoIterator for &'a Guards {
    type Item = &'a Guard;
    type IntoIter = std::slice::Iter<'a, Guard>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Drop for Guards {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}
