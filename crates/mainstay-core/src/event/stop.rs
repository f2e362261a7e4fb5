//! Stopping without losing what was accepted.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::store::QueueStats;
use super::subscribe::Active;
use super::{Events, Unfinished};

/// How often a stopping handle looks whether its queues are empty.
const LOOK: Duration = Duration::from_millis(5);

impl Events {
    /// Stops: from now on nothing can be published or subscribed through this handle and its clones, handlers
    /// included. Where the events would end with the process, consumers go on until their queues are empty,
    /// retries and all, or until `deadline`. Then the subscriptions stop: handlers still running are dropped and
    /// their events given back, which may take twice [`Options::op_timeout`](super::Options::op_timeout) more.
    ///
    /// A store that outlives the process keeps what is queued: there only running handlers are waited for.
    ///
    /// Stopping again waits again. Dropping the future leaves the handle closed to publishers.
    ///
    /// # Errors
    /// [`Unfinished`]: how many accepted events end unhandled with this process, also logged.
    pub async fn stop(&self, deadline: Duration) -> Result<(), Unfinished> {
        let started = Instant::now();
        self.gate().close();
        let active = self.active();
        if self.store().is_volatile() {
            let _in_time = tokio::time::timeout(deadline, self.drained(&active)).await;
        }
        let left = deadline.saturating_sub(started.elapsed());
        let stopped = join_all(active.iter().map(|active| active.stop(left))).await;
        // None of them waits for anything but one answer of the store.
        let _in_time = self.inner.tasks.stop(self.options().op_timeout.saturating_mul(2)).await;
        let lost_with_their_queue = active.iter().map(|active| active.take_lost()).sum();
        let stuck = stopped.into_iter().filter_map(Result::err).map(|overrun| overrun.tasks.len()).sum();
        let mut unfinished = Unfinished { events: lost_with_their_queue, stuck };
        if self.store().is_volatile() {
            let queues = self.stats().await.unwrap_or_default();
            unfinished.events += queues.iter().map(QueueStats::unfinished).sum::<usize>();
        } else {
            unfinished.events = 0;
        }
        if unfinished == (Unfinished { events: 0, stuck: 0 }) {
            return Ok(());
        }
        tracing::warn!(events = unfinished.events, stuck = unfinished.stuck, "events left unhandled");
        Err(unfinished)
    }

    /// Until every publisher is out and every queue that is consumed here is empty.
    async fn drained(&self, active: &[Arc<Active>]) {
        let is_consumed = |stats: &QueueStats| {
            active.iter().any(|active| active.is_fetching() && *active.queue() == stats.queue)
        };
        loop {
            let sealed = self.gate().is_sealed();
            // A store that does not answer may be full of events.
            let empty = self.stats().await.is_ok_and(|queues| {
                queues.iter().all(|stats| stats.unfinished() == 0 || !is_consumed(stats))
            });
            if sealed && empty {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
