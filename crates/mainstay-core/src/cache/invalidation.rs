//! Invalidations that happen, whatever becomes of whoever owes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::store::StoreError;

use super::{Cache, Error, Shared, Target, policy};

/// Most tags that wait for a store that is away; beyond it they are logged and given up.
const MAX_OWED: usize = 10_000;

/// Tags that must be invalidated because their source is being changed: make it before the change, and
/// [`run`](Self::run) it when the change has happened.
///
/// If it is dropped instead, because the writer was cancelled, panicked or does not know whether the change
/// happened, the cache invalidates the tags in the background; what did not change is then loaded once more, which
/// harms nobody. Where the store does not answer, that is repeated until it does or the cache is stopped: what
/// it holds when it comes back is not served for long. Only [`cancel`](Self::cancel), for a change that has
/// certainly not happened, leaves the tags alone.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use mainstay_core::{cache::{Cache, Options}, metrics::Metrics, time::Clock};
/// # let cache = Cache::in_memory(Options::default(), &Metrics::new(), Clock::system());
/// # async fn commit() {}
/// let users = cache.invalidation(["users"])?;
/// commit().await;
/// users.run().await?;
/// # Ok::<(), mainstay_core::cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "dropped, it invalidates in the background: run it when the change has happened"]
pub struct Invalidation {
    cache: Cache,
    tags: Vec<Box<str>>,
}

impl Cache {
    /// The duty to invalidate these tags.
    ///
    /// # Errors
    /// [`Error::Policy`] of the field `tag`.
    pub fn invalidation<T: Into<Box<str>>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Result<Invalidation, Error> {
        let tags: Vec<Box<str>> = tags.into_iter().map(Into::into).collect();
        tags.iter().try_for_each(|tag| policy::check_tag(tag).map(drop))?;
        Ok(Invalidation { cache: self.clone(), tags })
    }
}

impl Invalidation {
    /// Invalidates the tags, now that the change has happened. Takes as long as each tag's answer; whoever reads
    /// after it returned `Ok` reads what was written.
    ///
    /// # Errors
    /// As [`Cache::invalidate_tag`], of the first tag that failed; what is left goes on in the background.
    pub async fn run(mut self) -> Result<(), Error> {
        while let Some(tag) = self.tags.last() {
            self.cache.invalidate_tag(tag).await?;
            self.tags.pop();
        }
        Ok(())
    }

    /// Leaves the tags alone: nothing has changed.
    pub fn cancel(mut self) {
        self.tags.clear();
    }
}

impl Drop for Invalidation {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and its store with it.
        if !self.tags.is_empty() && tokio::runtime::Handle::try_current().is_ok() {
            let Cache { shared, tasks } = &self.cache;
            if shared.owed.add(self.tags.drain(..)) {
                let pay = pay(Arc::clone(shared), tasks.token());
                tasks.spawn("cache invalidation", pay);
            }
        }
    }
}

/// Tags to be invalidated by a task, each with how often it was added.
#[derive(Debug, Default)]
pub(super) struct Owed(Mutex<HashMap<Box<str>, u64>>);

impl Owed {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<Box<str>, u64>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there was nothing before: a task must be begun.
    fn add(&self, tags: impl Iterator<Item = Box<str>>) -> bool {
        self.with(|owed| {
            let idle = owed.is_empty();
            for tag in tags {
                if owed.len() < MAX_OWED || owed.contains_key(&tag) {
                    *owed.entry(tag).or_default() += 1;
                } else {
                    tracing::error!(%tag, "tag not invalidated: too many wait for the store");
                }
            }
            idle && !owed.is_empty()
        })
    }

    fn next(&self) -> Option<(Box<str>, u64)> {
        self.with(|owed| owed.iter().next().map(|(tag, times)| (tag.clone(), *times)))
    }

    /// A tag that was added again meanwhile stays: that change may have come later than the invalidation.
    fn paid(&self, tag: &str, times: u64) {
        self.with(|owed| {
            if owed.get(tag) == Some(&times) {
                owed.remove(tag);
            }
        });
    }
}

/// Invalidates what is owed, one tag after the other, until nothing is.
async fn pay(shared: Arc<Shared>, stopped: CancellationToken) {
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    let mut failures = 0;
    while let Some((tag, times)) = shared.owed.next() {
        let key = policy::check_tag(&tag).expect("it was one before");
        let asked = shared.store.invalidate(Target::Tag(key)).within(shared.options.op_timeout);
        match asked.await {
            Ok(_) => {
                shared.flights.detach_degraded();
                shared.owed.paid(&tag, times);
                failures = 0;
            }
            // Asking again would change nothing.
            Err(error @ StoreError::Rejected { .. }) => {
                tracing::error!(%error, %tag, "tag not invalidated");
                shared.owed.paid(&tag, times);
            }
            Err(error) => {
                tracing::debug!(%error, %tag, "tag not invalidated yet");
                let wait = tokio::time::sleep(backoff.delay(failures));
                failures = failures.saturating_add(1);
                if stopped.run_until_cancelled(wait).await.is_none() {
                    return;
                }
            }
        }
    }
}
