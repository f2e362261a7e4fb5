//! The keeper's own thread, on the machine's clock: what no runtime of the user's can stop or outlive.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::key::Key;
use mainstay_core::lock::{
    Acquired, Changed, Claim, Fence, Holder, LockState, Locks, Lost, Memory, Options, Release, Renewed,
    Store, Token, Usage,
};
use mainstay_core::metrics::{Format, Metrics};
use mainstay_core::store::{Reply, StoreError};
use mainstay_core::time::Clock;
use mainstay_testkit::faulty::lock::Faulty;
use mainstay_testkit::faulty::{Fault, Faults};
use mainstay_testkit::{Seed, eventually};
use tokio::runtime::{Builder, Runtime};

use super::SECOND;

const TTL: Duration = Duration::from_millis(400);
/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    memory: Arc<Memory>,
    faults: Faults,
    metrics: Metrics,
    locks: Locks,
}

impl Bench {
    fn new() -> Self {
        let memory = Arc::new(Memory::new(Clock::system()));
        let (faults, metrics) = (Faults::none(), Metrics::new());
        let store = Arc::new(Faulty::new(Arc::clone(&memory) as _, faults.clone()));
        let mut options = Options::default();
        options.op_timeout = TTL / 8;
        let locks = Locks::new(store, options, &metrics, Clock::system());
        Self { memory, faults, metrics, locks }
    }

    fn renewals(&self) -> usize {
        let shown = self.metrics.render(Format::Prometheus);
        let count =
            shown.lines().find_map(|line| line.strip_prefix("lock_renewals_total{result=\"renewed\"} "));
        count.map_or(0, |count| count.parse().unwrap())
    }

    fn renewed(&self, times: usize) {
        let until = self.renewals() + times;
        eventually("guards are renewed", PATIENCE, || self.renewals() >= until);
    }
}

/// Two workers, and a timer that nobody drives while both are blocked.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Blocks every worker until the sender is dropped.
fn block(runtime: &Runtime) -> Sender<()> {
    let (release, blocked) = channel::<()>();
    let (blocked, entered) = (Arc::new(Mutex::new(blocked)), Arc::new(std::sync::Barrier::new(3)));
    for _ in 0..2 {
        let (blocked, entered) = (Arc::clone(&blocked), Arc::clone(&entered));
        runtime.spawn(async move {
            entered.wait();
            let _gone = blocked.lock().unwrap().recv();
        });
    }
    entered.wait();
    release
}

#[test]
fn a_runtime_that_is_blocked_for_several_ttl_loses_no_lock() {
    let (bench, runtime) = (Bench::new(), runtime());
    let guard = runtime.block_on(bench.locks.lock("k").ttl(TTL).acquire()).unwrap();
    let blocked = block(&runtime);
    // Every third of the ttl: five of them.
    bench.renewed(15);
    assert_eq!(guard.check(), Ok(()));
    assert_eq!(bench.memory.usage().holders, 1);
    drop(blocked);
    assert_eq!(runtime.block_on(guard.release()), Ok(Release::Released));
}

#[test]
fn a_blocked_runtime_hears_of_a_loss_in_time() {
    let (bench, runtime) = (Bench::new(), runtime());
    let guard = runtime.block_on(bench.locks.lock("k").ttl(TTL).acquire()).unwrap();
    let lost = guard.lost_token();
    let _blocked = block(&runtime);
    bench.faults.always(Fault::Unavailable);
    eventually("the loss is told", SECOND, || lost.is_cancelled());
    assert_eq!(guard.check(), Err(Lost));
}

#[test]
fn a_guard_is_renewed_whatever_became_of_the_runtimes_before_its_own() {
    let bench = Bench::new();
    let runtimes = [runtime(), runtime()];
    let lock = |n: usize| runtimes[n].block_on(bench.locks.lock(format!("{n}")).ttl(TTL).acquire()).unwrap();
    let guards = [lock(0), lock(1)];
    for runtime in runtimes {
        runtime.shutdown_background();
        bench.renewed(12);
    }
    assert_eq!(guards.map(|guard| guard.check()), [Ok(()), Ok(())]);
}

#[test]
fn a_guard_dropped_when_no_runtime_is_left_releases_its_lock() {
    let (bench, runtime) = (Bench::new(), runtime());
    let guard = runtime.block_on(bench.locks.lock("k").acquire()).unwrap();
    drop(runtime);
    assert_eq!(bench.memory.usage().holders, 1);
    drop(guard);
    eventually("the lock is released", PATIENCE, || bench.memory.usage().holders == 0);
}

#[test]
fn stopping_releases_what_a_blocked_runtime_holds_within_the_deadline() {
    let (bench, blocked) = (Bench::new(), runtime());
    let _guards: Vec<_> =
        (0..50).map(|n| blocked.block_on(bench.locks.lock(format!("{n}")).acquire()).unwrap()).collect();
    let _blocked = block(&blocked);
    runtime().block_on(bench.locks.stop(SECOND)).unwrap();
    assert_eq!(bench.memory.usage().holders, 0);
}

/// Says when the thread ends that renewed a lock in it.
#[derive(Debug)]
struct Mourned {
    memory: Memory,
    ended: Mutex<Sender<()>>,
}

thread_local! {
    static ALIVE: std::cell::RefCell<Option<Alive>> = const { std::cell::RefCell::new(None) };
}

struct Alive(Sender<()>);

impl Drop for Alive {
    fn drop(&mut self) {
        let _nobody_listens = self.0.send(());
    }
}

impl Mourned {
    fn locks() -> (Locks, Receiver<()>) {
        let (ended, heard) = channel();
        let store = Self { memory: Memory::new(Clock::system()), ended: Mutex::new(ended) };
        (Locks::new(Arc::new(store), Options::default(), &Metrics::new(), Clock::system()), heard)
    }
}

impl Store for Mourned {
    fn acquire<'a>(&'a self, key: Key<'a>, claim: Claim) -> Reply<'a, Result<Acquired, StoreError>> {
        self.memory.acquire(key, claim)
    }

    fn renew<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        fence: Fence,
        ttl: Duration,
    ) -> Reply<'a, Result<Renewed, StoreError>> {
        ALIVE.with_borrow_mut(|alive| {
            alive.get_or_insert_with(|| Alive(self.ended.lock().unwrap().clone()));
        });
        self.memory.renew(key, attempt, fence, ttl)
    }

    fn release<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        tombstone: Duration,
    ) -> Reply<'a, Result<Release, StoreError>> {
        self.memory.release(key, attempt, tombstone)
    }

    fn changed<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Changed, StoreError>> {
        self.memory.changed(key)
    }

    fn holders<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Vec<Holder>, StoreError>> {
        self.memory.holders(key)
    }

    fn list(&self, limit: usize) -> Reply<'_, Result<Vec<LockState>, StoreError>> {
        self.memory.list(limit)
    }
}

#[test]
fn the_thread_ends_with_a_stop_and_with_the_last_guard() {
    let runtime = runtime();
    for stop in [true, false] {
        let (locks, ended) = Mourned::locks();
        let guard = runtime.block_on(async {
            let guard = locks.lock("k").ttl(TTL / 4).acquire().await.unwrap();
            tokio::time::sleep(TTL / 4).await;
            guard
        });
        assert!(ended.try_recv().is_err(), "it lives while something is held");
        if stop {
            runtime.block_on(locks.stop(PATIENCE)).unwrap();
        } else {
            drop(locks);
            assert_eq!(guard.check(), Ok(()), "a guard outlives the handle");
            drop(guard);
        }
        assert_eq!(ended.recv_timeout(PATIENCE), Ok(()));
    }
}

/// Workers of the stress, and what each does in a round.
const WORKERS: u64 = 4;
const TURNS: u64 = 60;
const ROUNDS: u64 = 8;

fn micros(rng: &mut mainstay_testkit::Rng, below: u64) -> Duration {
    Duration::from_micros(rng.below(below))
}

/// Locks, loses patience, holds, and leaves the guard to a runtime, to a thread without one, or to its own end.
async fn busy(locks: Locks, mut rng: mainstay_testkit::Rng) {
    for _ in 0..TURNS {
        let request = locks.semaphore(*rng.pick(&["a", "b", "s"]), 1).ttl(Duration::from_millis(40));
        let asking = request.wait(micros(&mut rng, 20_000)).acquire();
        let Ok(Ok(guard)) = tokio::time::timeout(micros(&mut rng, 20_000), asking).await else { continue };
        match rng.below(4) {
            0 => drop(guard.release().await),
            1 => drop(guard.run(tokio::time::sleep(micros(&mut rng, 60_000))).await),
            2 => drop(std::thread::spawn(move || drop(guard))),
            _ => tokio::time::sleep(micros(&mut rng, 3_000)).await,
        }
    }
}

#[test]
fn guards_dropped_and_futures_cancelled_at_random_beside_the_thread_leave_nothing_behind() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let rounds =
        ROUNDS * std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse().expect("a number"));
    for round in 0..rounds {
        let (bench, runtime) = (Bench::new(), runtime());
        bench.faults.random(Seed::new(rng.next_u64()), 0.1);
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| runtime.spawn(busy(bench.locks.clone(), Seed::new(rng.next_u64()).rng())))
            .collect();
        let pause = micros(&mut rng, 150_000);
        runtime.block_on(async { tokio::time::sleep(pause).await });
        // Cancelled one by one where they stand, or with their runtime.
        if rng.chance(0.5) {
            workers.iter().for_each(tokio::task::JoinHandle::abort);
        }
        let (memory, stop) = (Arc::clone(&bench.memory), rng.chance(0.5));
        runtime.shutdown_timeout(PATIENCE);
        if stop {
            self::runtime().block_on(bench.locks.stop(PATIENCE)).unwrap();
        }
        bench.faults.mend();
        eventually("nothing is in hand", PATIENCE, || bench.locks.usage() == Usage::default());
        drop(bench);
        let what = format!("round {round}: nothing is held or waited for");
        eventually(&what, PATIENCE, || {
            let left = memory.usage();
            left.holders == 0 && left.waiters == 0 && Arc::strong_count(&memory) == 1
        });
    }
}
