//! Futures are dropped after every number of polls, and guards at every moment; afterwards nothing is left.
//! `MAINSTAY_ROUNDS` multiplies the rounds; in each, more than one of three futures is dropped unfinished, so that 150
//! make a million.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::key::Key;
use mainstay_core::lock::{
    Acquired, Changed, Claim, Fence, Guard, Holder, Lease, LockState, Locks, Memory, Release, Renewed, Store,
    Token, Usage,
};
use mainstay_core::store::{Reply, StoreError};
use mainstay_testkit::faulty::Faults;
use mainstay_testkit::{Rng, Seed};

use super::{Bench, SECOND};

const ROUNDS: u64 = 7_000;
const ACTORS: usize = 3;

/// A store whose every call has await points before and after it took effect, and sometimes fails.
#[derive(Debug)]
struct Winding {
    memory: Arc<Memory>,
    faults: Faults,
    rng: Arc<Mutex<Rng>>,
}

async fn pause(polls: u64) {
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Winding {
    fn around<'a, T: Send + 'a>(
        &'a self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> Reply<'a, Result<T, StoreError>> {
        let (before, after) = {
            let mut rng = self.rng.lock().unwrap();
            (rng.below(3), rng.below(3))
        };
        Reply::pending(self.faults.around(async move {
            pause(before).await;
            let answer = call.await;
            pause(after).await;
            answer
        }))
    }
}

impl Store for Winding {
    fn acquire<'a>(&'a self, key: Key<'a>, claim: Claim) -> Reply<'a, Result<Acquired, StoreError>> {
        self.around(async move { self.memory.acquire(key, claim).await })
    }

    fn renew<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        fence: Fence,
        ttl: Duration,
    ) -> Reply<'a, Result<Renewed, StoreError>> {
        self.around(async move { self.memory.renew(key, attempt, fence, ttl).await })
    }

    fn release<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        tombstone: Duration,
    ) -> Reply<'a, Result<Release, StoreError>> {
        self.around(async move { self.memory.release(key, attempt, tombstone).await })
    }

    fn changed<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Changed, StoreError>> {
        self.around(async move { self.memory.changed(key).await })
    }

    fn holders<'a>(&'a self, key: Key<'a>) -> Reply<'a, Result<Vec<Holder>, StoreError>> {
        self.around(async move { self.memory.holders(key).await })
    }

    fn list(&self, limit: usize) -> Reply<'_, Result<Vec<LockState>, StoreError>> {
        self.around(async move { self.memory.list(limit).await })
    }
}

type Actor = Pin<Box<dyn Future<Output = ()>>>;

/// One of everything a user does with locks.
fn actor(locks: &Locks, memory: &Arc<Memory>, rng: &mut Rng) -> Actor {
    let (locks, memory) = (locks.clone(), Arc::clone(memory));
    let key = *rng.pick(&["a", "b"]);
    let polls = rng.below(4);
    let wait = Duration::from_millis(rng.below(40));
    match rng.below(7) {
        0 => Box::pin(async move { hold(locks.lock(key).wait(wait).acquire().await.ok(), polls).await }),
        1 => Box::pin(async move {
            let Ok(guard) = locks.lock(key).wait(wait).acquire().await else { return };
            pause(polls).await;
            let _outcome = guard.release().await;
        }),
        2 => Box::pin(async move {
            let Ok(guard) = locks.lock(key).try_acquire().await else { return };
            let _outcome = guard.run(pause(polls)).await;
        }),
        3 => Box::pin(async move {
            hold(locks.lock(key).retry(2, Duration::from_millis(5)).acquire().await.ok(), polls).await;
        }),
        4 => Box::pin(async move {
            let Ok(guards) = locks.lock_all(["a", "b"]).wait(wait).acquire().await else { return };
            pause(polls).await;
            let _outcome = guards.release().await;
        }),
        5 => Box::pin(
            async move { hold(locks.semaphore("s", 2).wait(wait).acquire().await.ok(), polls).await },
        ),
        _ => Box::pin(async move {
            if let Ok(lease) = locks.lock(key).wait(wait).lease().await {
                let _leased = Leased(memory, lease);
                pause(polls).await;
            }
        }),
    }
}

async fn hold(guard: Option<Guard>, polls: u64) {
    if guard.is_some() {
        pause(polls).await;
    }
}

/// A lease stays held when its future is dropped, so that the test gives it back.
struct Leased(Arc<Memory>, Lease);

impl Drop for Leased {
    fn drop(&mut self) {
        let key = Key::new(&self.1.key).unwrap();
        self.0.release(key, self.1.token, Duration::ZERO).now().unwrap().unwrap();
    }
}

/// Nothing in hand once the keeper has done its work: long before a ttl could hide what was left behind.
async fn settled(locks: &Locks, memory: &Memory) {
    for _ in 0..1_000 {
        let store = memory.usage();
        if locks.usage() == Usage::default() && store.holders == 0 && store.waiters == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("left behind: {:?}, {:?}", locks.usage(), memory.usage());
}

async fn drop_everything_everywhere(failures: f64, rounds: u64) {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let store_rng = Arc::new(Mutex::new(Seed::new(rng.next_u64()).rng()));
    let bench = Bench::new(|memory, faults| {
        Arc::new(Winding { memory, faults: faults.clone(), rng: Arc::clone(&store_rng) })
    });
    let mut unfinished = 0_u64;
    for _ in 0..rounds {
        if failures > 0.0 {
            bench.faults.random(Seed::new(rng.next_u64()), failures);
        }
        let mut actors: Vec<_> = (0..ACTORS).map(|_| actor(&bench.locks, &bench.memory, &mut rng)).collect();
        for _ in 0..rng.below(40) {
            match *rng.pick(&[0, 1, 2, ACTORS]) {
                at if at < actors.len() => {
                    if actors[at].as_mut().now_or_never().is_some() {
                        drop(actors.swap_remove(at));
                    }
                }
                _ => tokio::time::advance(Duration::from_millis(rng.below(4))).await,
            }
            // Lets the keeper run, and gives this task a new budget.
            tokio::task::yield_now().await;
        }
        rng.shuffle(&mut actors);
        unfinished += actors.len() as u64;
        drop(actors);
        bench.faults.mend();
        settled(&bench.locks, &bench.memory).await;
    }
    assert!(unfinished > rounds, "only {unfinished} futures were dropped in {rounds} rounds");
    let shown = bench.metrics.render(mainstay_core::metrics::Format::Prometheus);
    for gauge in ["lock_held 0", "lock_waiters 0"] {
        assert!(shown.lines().any(|line| line == gauge), "{gauge} not in\n{shown}");
    }
    bench.locks.stop(SECOND).await.expect("the keeper has nothing left to do");
}

fn rounds() -> u64 {
    ROUNDS * std::env::var("MAINSTAY_ROUNDS").map_or(1, |times| times.parse().expect("a number"))
}

#[tokio::test(start_paused = true)]
async fn futures_and_guards_dropped_anywhere_leave_nothing_behind() {
    drop_everything_everywhere(0.0, rounds() / 2).await;
}

#[tokio::test(start_paused = true)]
async fn futures_and_guards_dropped_anywhere_leave_nothing_behind_with_a_failing_store() {
    drop_everything_everywhere(0.2, rounds() / 2).await;
}
