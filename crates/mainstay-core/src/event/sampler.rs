//! How the queues stand, known without a question.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::store::{QueueStats, Store};
use super::{Events, Options};
use crate::task::TaskGroup;
use crate::time::{Clock, Moment};

/// A sample this many periods old says nothing any more.
const STALE: u32 = 4;

/// Longest wait for the first sample.
const FIRST: Duration = Duration::from_secs(1);

/// How the queues of a store stood a moment ago: [`Events::last_stats`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastStats {
    /// Every queue.
    pub queues: Vec<QueueStats>,
    /// How long ago that was.
    pub age: Duration,
}

/// Asks a store on a server from time to time, so that whoever looks never waits for it.
#[derive(Debug)]
pub(super) struct Sampler {
    store: Weak<dyn Store>,
    clock: Clock,
    period: Duration,
    op_timeout: Duration,
    begun: AtomicBool,
    last: Mutex<Option<(Moment, Vec<QueueStats>)>>,
}

impl Sampler {
    pub(super) fn new(store: &Arc<dyn Store>, options: &Options, clock: Clock) -> Self {
        Self {
            store: Arc::downgrade(store),
            clock,
            period: options.stats_period,
            op_timeout: options.op_timeout,
            begun: AtomicBool::new(false),
            last: Mutex::default(),
        }
    }

    /// Sees to it that there are samples. A store in this process needs none, nor a runtime.
    pub(super) fn begin(self: &Arc<Self>, tasks: &TaskGroup) {
        if self.begun.load(Relaxed) || self.begun.swap(true, Relaxed) || self.period.is_zero() {
            return;
        }
        if self.at_once().is_none() {
            tasks.spawn_until_cancelled("event stats", Arc::clone(self).sample());
        }
    }

    /// How the queues stand, or stood lately.
    pub(super) fn latest(&self) -> Option<LastStats> {
        if let Some(queues) = self.at_once() {
            return Some(LastStats { queues, age: Duration::ZERO });
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, queues) = last.as_ref()?;
        let age = self.clock.now().saturating_since(*at);
        (age < self.period.saturating_mul(STALE)).then(|| LastStats { queues: queues.clone(), age })
    }

    fn at_once(&self) -> Option<Vec<QueueStats>> {
        self.store.upgrade()?.stats().now().ok()?.ok()
    }

    async fn sample(self: Arc<Self>) {
        let mut pause = self.period.min(FIRST);
        loop {
            tokio::time::sleep(pause).await;
            pause = self.period;
            let Some(store) = self.store.upgrade() else { return };
            match store.stats().within(self.op_timeout).await {
                Ok(queues) => {
                    let sample = (self.clock.now(), queues);
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(sample);
                }
                Err(error) => tracing::debug!(%error, "event queues were not counted"),
            }
        }
    }
}

impl Events {
    /// How every queue stands, without asking a server: by the last answer, which a task gets every
    /// [`Options::stats_period`] once something was published or subscribed. `None` while there is none, or none
    /// that is younger than four periods. Metrics show the same.
    #[must_use]
    pub fn last_stats(&self) -> Option<LastStats> {
        self.inner.sampler.latest()
    }
}
