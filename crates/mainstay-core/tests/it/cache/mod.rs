//! The cache: its store's contract (`store`), loads (`loads`), what may be served late or early
//! (`stale`), bad input (`inputs`), stores that fail (`outages`) and are back (`owing`), a naive model (`model`), histories of versions
//! (`history`), what is owed after a change (`owed`), storms of callers who come and go (`storms`) and the bound on memory (`bounds`).

mod bounds;
mod history;
mod inputs;
mod loads;
mod model;
mod outages;
mod owed;
mod owing;
mod stale;
mod store;
mod storms;

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_core::cache::{Cache, Memory, Options, Policy, Store, Ttl};
use mainstay_core::key::Key;
use mainstay_core::metrics::{Format, Metrics};
use mainstay_testkit::faulty::Faults;
use mainstay_testkit::faulty::cache::FaultyStore;
use mainstay_testkit::{TestClock, eventually_async};

const MS: Duration = Duration::from_millis(1);
/// Invalidations that wait for their store.
const OWED: &str = "cache_invalidations_owed";
const SECOND: Duration = Duration::from_secs(1);

/// A cache on a store that fails on demand, with all that a test looks at.
struct Fixture {
    cache: Cache,
    memory: Arc<Memory>,
    metrics: Metrics,
    faults: Faults,
    clock: TestClock,
}

/// On a store that needs an await for every answer, as one on a server does.
fn remote() -> Fixture {
    let faults = Faults::none();
    let switch = faults.clone();
    Fixture { faults, ..fixture(Options::default(), |memory| Arc::new(FaultyStore::new(memory, switch))) }
}

/// On the store in this process.
fn local() -> Fixture {
    fixture(Options::default(), |memory| memory)
}

fn fixture(options: Options, wrap: impl FnOnce(Arc<Memory>) -> Arc<dyn Store>) -> Fixture {
    let (metrics, clock) = (Metrics::new(), TestClock::new());
    let memory = Arc::new(Memory::new(&options, clock.clock()));
    let cache = Cache::new(wrap(Arc::clone(&memory)), options, &metrics, clock.clock());
    Fixture { cache, memory, metrics, faults: Faults::none(), clock }
}

impl Fixture {
    /// The value of a series in the text that is exported.
    fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.render(Format::Prometheus);
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    fn requests(&self, result: &str) -> f64 {
        self.metric(&format!("cache_requests_total{{result=\"{result}\"}}"))
    }

    fn loads(&self, result: &str) -> f64 {
        self.metric(&format!("cache_loads_total{{result=\"{result}\"}}"))
    }

    /// Whether the store itself has a value, whatever the cache says.
    async fn stored(&self, key: &str) -> bool {
        self.memory.get(Key::new(key).unwrap()).await.unwrap().is_some()
    }

    /// Waits until what could not be taken away has been.
    async fn paid(&self) {
        eventually_async("all debts are paid", 60 * SECOND, async || self.metric(OWED) == 0.0).await;
    }

    /// Nothing is left of what was begun.
    async fn assert_idle(&self) {
        settle().await;
        assert_eq!(self.metric("cache_loads_in_flight"), 0.0, "loads");
        assert_eq!(self.memory.usage().leases, 0, "leases");
    }
}

/// Everything that can run has run; time passes only if all wait for it.
async fn settle() {
    tokio::time::sleep(MS).await;
}

/// Exactly this long, from first to last: no jitter, no early refresh.
fn exactly(ttl: impl Into<Ttl>) -> Policy {
    ttl.into().jitter(0.0).early_refresh(0.0)
}

/// Counts how often it loads.
#[derive(Clone, Default)]
struct Loader(Arc<AtomicUsize>);

impl Loader {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// A loader that takes this long and gives its number, from 1.
    fn numbered(&self, takes: Duration) -> impl FnOnce() -> Loading<Infallible> + Send + use<> {
        let count = Arc::clone(&self.0);
        move || {
            Box::pin(async move {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::time::sleep(takes).await;
                Ok(number)
            })
        }
    }

    /// A loader that counts, too, and fails.
    fn failing(&self) -> impl FnOnce() -> Loading<io::Error> + Send + use<> {
        self.failing_after(Duration::ZERO)
    }

    fn failing_after(&self, time: Duration) -> impl FnOnce() -> Loading<io::Error> + Send + use<> {
        let count = Arc::clone(&self.0);
        move || {
            Box::pin(async move {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(time).await;
                Err(io::Error::other("down"))
            })
        }
    }
}

type Loading<E> = Pin<Box<dyn Future<Output = Result<usize, E>> + Send>>;
