//! Copies of a question that arrive late, and releases at the worst moment.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::key::Key;
use mainstay_core::lock::{
    Acquired, Changed, Claim, Error, Fence, Holder, LockState, Memory, Release, Renewed, Store, Token,
};
use mainstay_core::store::{Reply, StoreError};
use tokio::time::Instant;

use super::{Bench, SECOND};

/// A store on a line that keeps the first question for later, and meanwhile says nothing.
#[derive(Debug)]
struct Detour {
    memory: Arc<Memory>,
    kept: Arc<Mutex<Option<(String, Claim)>>>,
}

impl Detour {
    /// The copy arrives.
    fn arrive(memory: &Memory, kept: &Mutex<Option<(String, Claim)>>) -> Acquired {
        let (key, claim) = kept.lock().unwrap().clone().expect("a question was asked");
        memory.acquire(Key::new(&key).unwrap(), claim).now().unwrap().unwrap()
    }
}

impl Store for Detour {
    fn acquire<'a>(&'a self, key: Key<'a>, claim: Claim) -> Reply<'a, Result<Acquired, StoreError>> {
        let mut kept = self.kept.lock().unwrap();
        if kept.is_none() {
            *kept = Some((key.name().to_owned(), claim));
            return Reply::ready(Err(StoreError::unknown("on a detour")));
        }
        self.memory.acquire(key, claim)
    }

    fn renew<'a>(
        &'a self,
        key: Key<'a>,
        attempt: Token,
        fence: Fence,
        ttl: Duration,
    ) -> Reply<'a, Result<Renewed, StoreError>> {
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

#[tokio::test(start_paused = true)]
async fn a_late_copy_of_a_question_is_refused_after_the_release() {
    let kept = Arc::default();
    let bench = Bench::new(|memory, _| Arc::new(Detour { memory, kept: Arc::clone(&kept) }));
    let guard = bench.locks.lock("k").acquire().await.unwrap();
    let fence = guard.fence();
    assert_eq!(Detour::arrive(&bench.memory, &kept), Acquired::Granted { fence }, "one attempt, one fence");
    drop(guard);
    assert_eq!(Detour::arrive(&bench.memory, &kept), Acquired::Cancelled);
    assert_eq!(bench.holders(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_late_copy_of_a_question_is_refused_after_the_caller_went_away() {
    let kept = Arc::default();
    let bench = Bench::new(|memory, _| Arc::new(Detour { memory, kept: Arc::clone(&kept) }));
    let other = bench.another().lock("k").acquire().await.unwrap();
    let refused = bench.locks.lock("k").wait(SECOND).acquire().await.map(drop);
    assert!(matches!(refused, Err(Error::Contended { .. })), "{refused:?}");
    drop(other);
    assert_eq!(Detour::arrive(&bench.memory, &kept), Acquired::Cancelled);
    assert_eq!(bench.holders(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_release_between_asking_and_waiting_is_not_missed() {
    let delay = Duration::from_millis(400);
    for moment in (0..3_000).step_by(50) {
        let bench = Bench::far();
        bench.faults.delay(delay);
        let held = bench.another().lock("k").acquire().await.unwrap();
        let locks = bench.locks.clone();
        let waiter = tokio::spawn(async move {
            let _guard = locks.lock("k").wait(60 * SECOND).acquire().await.unwrap();
            Instant::now()
        });
        tokio::time::sleep(Duration::from_millis(moment)).await;
        let released = Instant::now();
        drop(held);
        let waited = waiter.await.unwrap() - released;
        assert!(waited <= 4 * delay, "released at {moment} ms, noticed {waited:?} later");
    }
}
