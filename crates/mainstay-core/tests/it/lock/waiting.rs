use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::lock::Error;
use mainstay_testkit::Seed;
use mainstay_testkit::faulty::Fault;
use tokio::time::Instant;

use super::{Bench, SECOND};

#[tokio::test(start_paused = true)]
async fn a_waiter_is_woken_by_the_release_and_not_later() {
    for bench in [Bench::near(), Bench::far()] {
        for other in [bench.locks.clone(), bench.another()] {
            let guard = bench.locks.lock("k").acquire().await.unwrap();
            let waiter = tokio::spawn(async move { other.lock("k").acquire().await.map(drop) });
            tokio::time::sleep(SECOND).await;
            let released = Instant::now();
            guard.release().await.unwrap();
            waiter.await.unwrap().unwrap();
            assert_eq!(released.elapsed(), Duration::ZERO);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_has_the_lock_when_its_holders_ttl_is_over() {
    let bench = Bench::near();
    bench.locks.lock("k").ttl(5 * SECOND).lease().await.unwrap();
    let began = Instant::now();
    let _guard = bench.locks.lock("k").acquire().await.unwrap();
    let waited = began.elapsed();
    assert!(waited >= 5 * SECOND && waited < 5 * SECOND + Duration::from_millis(5), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn patience_ends_at_its_deadline() {
    for bench in [Bench::near(), Bench::far()] {
        bench.locks.lock("k").ttl(60 * SECOND).lease().await.unwrap();
        for (request, limit) in [
            (bench.locks.lock("k"), 10 * SECOND),
            (bench.locks.lock("k").wait(3 * SECOND), 3 * SECOND),
            (bench.locks.lock("k").wait(Duration::ZERO), Duration::ZERO),
            (bench.locks.semaphore("k", 5).wait(SECOND), SECOND),
        ] {
            let began = Instant::now();
            let refused = request.acquire().await.map(drop);
            assert!(matches!(refused, Err(Error::Contended { retry_after: Some(_) })), "{refused:?}");
            let waited = began.elapsed();
            assert!(waited >= limit && waited < limit + Duration::from_millis(5), "{waited:?} of {limit:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_task_does_not_poll_the_store() {
    let bench = Bench::far();
    let _guard = bench.locks.lock("k").ttl(3600 * SECOND).acquire().await.unwrap();
    let waiters: Vec<_> = (0..64)
        .map(|_| {
            let locks = bench.locks.clone();
            tokio::spawn(async move { locks.lock("k").wait(600 * SECOND).acquire().await.map(drop) })
        })
        .collect();
    tokio::time::sleep(SECOND).await;
    let calls = bench.faults.calls();
    tokio::time::sleep(500 * SECOND).await;
    assert_eq!(bench.faults.calls(), calls);
    for waiter in waiters {
        assert!(matches!(waiter.await.unwrap(), Err(Error::Contended { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_subscription_was_not_answered_asks_again_before_the_holders_ttl() {
    for fault in [Fault::Hang, Fault::LostRequest, Fault::Unavailable] {
        let bench = Bench::far();
        let guard = bench.another().lock("k").ttl(3600 * SECOND).acquire().await.unwrap();
        bench.faults.delay(Duration::from_millis(100));
        let locks = bench.locks.clone();
        let waiter =
            tokio::spawn(async move { locks.lock("k").wait(600 * SECOND).acquire().await.map(drop) });
        tokio::time::sleep(Duration::from_millis(50)).await;
        // The first question is on its way; what follows is the subscription.
        bench.faults.next(1, fault);
        tokio::time::sleep(5 * SECOND).await;
        let began = Instant::now();
        drop(guard);
        waiter.await.unwrap().unwrap();
        assert!(began.elapsed() <= 2 * SECOND, "{fault:?}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_of_one_process_are_served_in_the_order_they_came() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let bench = Bench::far();
    let guard = bench.locks.lock("k").acquire().await.unwrap();
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut given_up = Vec::new();
    let mut tasks = Vec::new();
    for n in 0..100_u32 {
        let (locks, served) = (bench.locks.clone(), Arc::clone(&served));
        let task = tokio::spawn(async move {
            let _guard = locks.lock("k").wait(600 * SECOND).acquire().await.unwrap();
            served.lock().unwrap().push(n);
            tokio::time::sleep(Duration::from_millis(10)).await;
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
        if rng.chance(0.2) { given_up.push((n, task)) } else { tasks.push((n, task)) }
    }
    given_up.iter().for_each(|(_, task)| task.abort());
    drop(guard);
    let expected: Vec<_> = tasks.iter().map(|(n, _)| *n).collect();
    for (_, task) in tasks {
        task.await.unwrap();
    }
    assert_eq!(*served.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_pass_those_in_line() {
    let bench = Bench::near();
    let guard = bench.locks.lock("k").acquire().await.unwrap();
    let locks = bench.locks.clone();
    let waiter = tokio::spawn(async move { locks.lock("k").acquire().await });
    tokio::task::yield_now().await;
    drop(guard); // the lock is free, and the waiter not yet awake
    let refused = bench.locks.lock("k").try_acquire().await.map(drop);
    assert!(matches!(refused, Err(Error::Contended { .. })), "{refused:?}");
    drop(waiter.await.unwrap().unwrap());
    drop(bench.locks.lock("k").try_acquire().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_back_as_often_as_it_said_and_waits_longer_each_time() {
    let bench = Bench::far();
    bench.locks.lock("k").ttl(3600 * SECOND).lease().await.unwrap();
    let (calls, began) = (bench.faults.calls(), Instant::now());
    let refused = bench.locks.lock("k").retry(3, SECOND).acquire().await.map(drop);
    assert!(matches!(refused, Err(Error::Contended { .. })), "{refused:?}");
    assert_eq!(bench.faults.calls() - calls, 4);
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(3_500) && waited <= Duration::from_millis(7_010), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_has_the_lock_at_its_next_try() {
    let bench = Bench::near();
    let guard = bench.locks.lock("k").acquire().await.unwrap();
    let locks = bench.locks.clone();
    let retry = tokio::spawn(async move { locks.lock("k").retry(5, SECOND).lease().await });
    tokio::time::sleep(2 * SECOND).await;
    drop(guard);
    retry.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_semaphore_never_has_more_holders_than_permits() {
    let mut rng = Seed::from_env("MAINSTAY_SEED").rng();
    let bench = Bench::near();
    let peers = [bench.locks.clone(), bench.another()];
    let inside = Arc::new(Mutex::new((0_u32, 0_u32)));
    let tasks: Vec<_> = (0..200_usize)
        .map(|n| {
            let (locks, inside) = (peers[n % 2].clone(), Arc::clone(&inside));
            let (before, held) =
                (Duration::from_millis(rng.below(500)), Duration::from_millis(rng.below(50)));
            tokio::spawn(async move {
                tokio::time::sleep(before).await;
                let _permit = locks.semaphore("s", 5).wait(600 * SECOND).acquire().await.unwrap();
                {
                    let mut inside = inside.lock().unwrap();
                    inside.0 += 1;
                    inside.1 = inside.1.max(inside.0);
                }
                tokio::time::sleep(held).await;
                inside.lock().unwrap().0 -= 1;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*inside.lock().unwrap(), (0, 5), "none left, and all five were used");
}
