//! Locks: the store's contract (`contract`), guards (`guards`), renewal and loss (`renewal`), the keeper's own thread
//! (`thread`), patience (`waiting`), stores that fail (`faults`), copies that arrive late (`late`), bad input
//! (`input`), several keys (`several`), elections (`election`), what is counted (`metrics`) and shown (`view`), and two
//! random tests: nothing is left behind (`leaks`), and what happened was allowed (`history`).

mod contract;
mod election;
mod faults;
mod guards;
mod history;
mod input;
mod late;
mod leaks;
mod metrics;
mod renewal;
mod several;
mod thread;
mod view;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::lock::{Locks, Memory, Options};
use mainstay_core::metrics::Metrics;
use mainstay_testkit::TestClock;
use mainstay_testkit::faulty::Faults;
use mainstay_testkit::faulty::lock::Faulty;

const SECOND: Duration = Duration::from_secs(1);

/// The keeper's thread does not know of time that a test has paused.
fn on_paused_time() -> Options {
    let mut options = Options::default();
    options.keeper_thread = false;
    options
}

/// Locks over a store that fails when told to, on a clock in the test's hand.
struct Bench {
    time: TestClock,
    memory: Arc<Memory>,
    faults: Faults,
    metrics: Metrics,
    locks: Locks,
}

impl Bench {
    /// A store that answers at once.
    fn near() -> Self {
        Self::new(|memory, _| memory)
    }

    /// A store that answers when its future is polled, and fails as told.
    fn far() -> Self {
        Self::new(|memory, faults| Arc::new(Faulty::new(memory, faults.clone())))
    }

    fn new(wrap: impl Fn(Arc<Memory>, &Faults) -> Arc<dyn mainstay_core::lock::Store>) -> Self {
        let time = TestClock::new();
        let memory = Arc::new(Memory::new(time.clock()));
        let faults = Faults::none();
        let metrics = Metrics::new();
        let store = wrap(Arc::clone(&memory), &faults);
        let locks = Locks::new(store, on_paused_time(), &metrics, time.clock());
        Self { time, memory, faults, metrics, locks }
    }

    fn holders(&self) -> usize {
        self.memory.usage().holders
    }

    /// Another process on the same store.
    fn another(&self) -> Locks {
        let store = Arc::clone(&self.memory) as Arc<dyn mainstay_core::lock::Store>;
        Locks::new(store, on_paused_time(), &Metrics::new(), self.time.clock())
    }
}
