use mainstay_core::lock::{Error, Lost, Release};

use super::{Bench, SECOND};

#[tokio::test(start_paused = true)]
async fn a_guard_excludes_others_until_it_is_dropped() {
    let bench = Bench::near();
    let guard = bench.locks.lock("k").acquire().await.unwrap();
    let Err(Error::Contended { retry_after: Some(retry_after) }) = bench.locks.lock("k").try_acquire().await
    else {
        panic!("a second guard")
    };
    assert!(retry_after <= 30 * SECOND);
    drop(guard);
    drop(bench.locks.lock("k").try_acquire().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_release_says_whether_there_was_something_to_release() {
    let bench = Bench::near();
    let guard = bench.locks.lock("k").acquire().await.unwrap();
    let (key, token) = (guard.key().to_owned(), *guard.token());
    assert_eq!(guard.release().await, Ok(Release::Released));
    assert_eq!(bench.locks.release(&key, &token).await, Ok(Release::NotHeld), "twice");

    let guard = bench.locks.lock("k").acquire().await.unwrap();
    assert_eq!(bench.locks.release("k", &token).await, Ok(Release::NotHeld), "another's token");
    assert_eq!(guard.check(), Ok(()));
    bench.time.suspend(60 * SECOND);
    assert_eq!(guard.release().await, Ok(Release::NotHeld), "after expiry");
}

#[tokio::test(start_paused = true)]
async fn fences_grow_and_are_above_their_floor() {
    let bench = Bench::near();
    let first = bench.locks.lock("k").acquire().await.unwrap().fence();
    let floor = (first.get() + 1_000_000_000).into();
    let second = bench.locks.lock("k").floor(floor).acquire().await.unwrap().fence();
    assert!(second > floor);
    assert!(bench.locks.lock("k").acquire().await.unwrap().fence() > second);
}

#[test]
fn a_guard_can_be_dropped_outside_a_runtime() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    for bench in runtime.block_on(async { [Bench::near(), Bench::far()] }) {
        let guard = runtime.block_on(bench.locks.lock("k").acquire()).unwrap();
        drop(guard);
        assert_eq!(bench.locks.usage().held, 0);
        // A far store hears of it when the keeper runs again.
        runtime.block_on(async { tokio::time::sleep(SECOND).await });
        assert_eq!(bench.holders(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn work_runs_while_the_lock_is_held_and_is_dropped_when_it_is_lost() {
    let bench = Bench::near();
    let guard = bench.locks.lock("k").acquire().await.unwrap();
    assert_eq!(guard.run(async { 7 }).await, Ok(7));

    let dropped = std::sync::Arc::new(());
    let alive = std::sync::Arc::clone(&dropped);
    let work = async move {
        let _alive = alive;
        std::future::pending::<()>().await;
    };
    bench.locks.release("k", guard.token()).await.unwrap();
    assert_eq!(guard.run(work).await, Err(Lost), "the next renewal tells");
    assert_eq!(std::sync::Arc::strong_count(&dropped), 1);
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_after_the_lock_does_not_count() {
    let bench = Bench::near();
    let guard = bench.locks.lock("k").acquire().await.unwrap();
    let late = guard.run(async { bench.time.suspend(60 * SECOND) }).await;
    assert_eq!(late, Err(Lost));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_released_by_its_token_and_by_nothing_else() {
    let bench = Bench::near();
    let lease = bench.locks.lock("k").ttl(10 * SECOND).lease().await.unwrap();
    assert_eq!((lease.key.as_str(), lease.ttl), ("k", 10 * SECOND));
    let (token, fence) = (lease.token, lease.fence);
    drop(lease);
    assert_eq!(bench.holders(), 1);
    let wrong = bench.locks.lock("other").lease().await.unwrap().token;
    assert_eq!(bench.locks.release("k", &wrong).await, Ok(Release::NotHeld));
    assert_eq!(bench.locks.release("k", &token).await, Ok(Release::Released));
    assert_eq!(bench.locks.release("k", &token).await, Ok(Release::NotHeld));
    assert!(bench.locks.lock("k").lease().await.unwrap().fence > fence);
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_with_its_ttl() {
    let bench = Bench::near();
    let lease = bench.locks.lock("k").ttl(10 * SECOND).lease().await.unwrap();
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!(bench.locks.release("k", &lease.token).await, Ok(Release::NotHeld));
    assert_eq!(bench.holders(), 0);
}

#[tokio::test(start_paused = true)]
async fn stopping_releases_what_is_held_and_turns_away_who_waits() {
    for bench in [Bench::near(), Bench::far()] {
        let guard = bench.locks.lock("k").acquire().await.unwrap();
        let lease = bench.locks.lock("leased").lease().await.unwrap();
        let locks = bench.locks.clone();
        let waiter = tokio::spawn(async move { locks.lock("k").acquire().await.map(drop) });
        tokio::time::sleep(SECOND).await;
        bench.locks.stop(SECOND).await.unwrap();
        assert_eq!(guard.check(), Err(Lost));
        guard.lost().await;
        assert_eq!(waiter.await.unwrap(), Err(Error::Stopped));
        assert_eq!(bench.locks.lock("new").acquire().await.map(drop), Err(Error::Stopped));
        assert_eq!(bench.holders(), 1, "the lease");
        assert_eq!(bench.another().release("leased", &lease.token).await, Ok(Release::Released));
    }
}

#[tokio::test(start_paused = true)]
async fn guards_outlive_the_handle() {
    let bench = Bench::far();
    let memory = bench.memory;
    let guard = bench.locks.lock("k").acquire().await.unwrap();
    drop(bench.locks);
    tokio::time::sleep(120 * SECOND).await;
    assert_eq!(guard.check(), Ok(()));
    drop(guard);
    tokio::time::sleep(SECOND).await;
    assert_eq!(memory.usage().holders, 0, "the last guard's release went out");
}
