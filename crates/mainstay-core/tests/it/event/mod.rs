//! Events: what publishers and handlers see (`handling`, `order`, `publishing`, `transaction`), stopping (`stopping`), a store that fails
//! (`outage`), feeds (`feed`), how queues stand
//! (`sampling`), the contract on the store in this process (`contract`, `model`), and everything at once (`chaos`).

mod audit;
mod chaos;
mod contract;
mod feed;
mod handling;
mod model;
mod order;
mod outage;
mod publishing;
mod sampling;
mod stopping;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::{Bounds, Events, Memory, Options, QueueStats, Store};
use mainstay_core::metrics::Metrics;
use mainstay_testkit::TestClock;

const SECOND: Duration = Duration::from_secs(1);

/// A bus in this process, with the parts a test looks at.
struct Bus {
    events: Events,
    store: Arc<dyn Store>,
    metrics: Metrics,
}

impl Bus {
    fn new() -> Self {
        Self::with(Options::new("users"))
    }

    fn with(options: Options) -> Self {
        let store = Memory::new(options.memory, TestClock::new().clock());
        Self::on(Arc::new(store), options)
    }

    fn on(store: Arc<dyn Store>, options: Options) -> Self {
        let metrics = Metrics::new();
        let events = Events::new(Arc::clone(&store), options, &metrics, TestClock::new().clock());
        Self { events, store, metrics }
    }

    /// How the only queue stands.
    async fn only_queue(&self) -> QueueStats {
        let [queue] = <[_; 1]>::try_from(self.store.stats().await.unwrap()).unwrap();
        queue
    }

    fn counted(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.metrics.counter(name).with(labels).get()
    }
}

fn bounds(queue: usize) -> Bounds {
    let mut bounds = Bounds::default();
    bounds.queue = queue;
    bounds
}

/// Lets every task run until it waits for time or for another.
async fn settled() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Tasks of this test's runtime that have not ended, the test itself not counted.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
