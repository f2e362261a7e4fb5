//! Invalidations that happen, whatever becomes of whoever owes them.

use std::sync::Arc;

use super::{Cache, Error, Shared, Target, policy};

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
            let (shared, tags) = (Arc::clone(&self.cache.shared), std::mem::take(&mut self.tags));
            self.cache.tasks.spawn_until_cancelled("cache invalidation", invalidate(shared, tags));
        }
    }
}

/// What fails is owed, and repeated, by the store.
async fn invalidate(shared: Arc<Shared>, tags: Vec<Box<str>>) {
    for tag in tags {
        let key = policy::check_tag(&tag).expect("it was one before");
        let asked = shared.store.invalidate(Target::Tag(key)).within(shared.options.op_timeout);
        if let Err(error) = asked.await {
            tracing::debug!(%error, %tag, "tag not invalidated yet");
        }
        shared.flights.detach_degraded();
    }
}
